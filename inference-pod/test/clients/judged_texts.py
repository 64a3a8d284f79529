"""Texts of many kinds, the same each time."""

import random

words = (
    "the quick brown fox naïve façade Straße ΑΒΓδ мир Ёлка 模型 日本語 한국어 مرحبا שלום हिन्दी ไทย 😀 👩‍👩‍👧 e\u0301 ﬁ ½ ① "
    "don't can’t I'm 3.14 1e-9 2024-01-02 x=y*(z+1) http://a.b/c?d=e#f @user #tag C++ .NET <b>bold</b> a_b a-b A.B.C. "
    "[CLS] [SEP] [PAD] [UNK] \u00ad soft\u200bbreak \ufeff reload underloading carrying"
).split(" ")


def texts(count: int) -> list[str]:
    chosen = random.Random(23)
    fixed = [
        " ", "\n", "\t a\r\n b ", "a", "A", "\u0000", "a\u0300\u0301\u0302", "a" * 5000, "word " * 3000, "模" * 700,
        "!?" * 200, " leading", "trailing ", "in  the   middle", "\u3000全角",
    ]
    made = [
        "".join(chosen.choice(["", " ", "  "]) + chosen.choice(words) for _ in range(chosen.randint(1, 40)))
        for _ in range(count - len(fixed))
    ]
    return fixed + made
