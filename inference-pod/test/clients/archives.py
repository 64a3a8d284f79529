"""Writes archives into a folder, as hostile ones as there are: archives.py FOLDER"""

import gzip
import io
import os
import sys
import tarfile
import zipfile

folder = sys.argv[1]


def path(name):
    return os.path.join(folder, name)


def tar(name, *entries, mode="w"):
    """Entries are a name with bytes, or with what else they are."""
    with tarfile.open(path(name), mode) as archive:
        for entry, content in entries:
            info = tarfile.TarInfo(entry)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)


def zipped(name, *entries, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path(name), "w", method) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)


def entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def changed(source, name, change):
    with open(path(source), "rb") as file:
        data = bytearray(file.read())
    with open(path(name), "wb") as file:
        file.write(change(data))




good = [("./a/one.txt", b"one"), ("./a/b/two.txt", b"two" * 100_000), ("three", b"")]
folders = [("./a", (tarfile.DIRTYPE, "")), ("./empty", (tarfile.DIRTYPE, ""))]
tar("good.tar", *folders, *good)
tar("good.tar.gz", *folders, *good, mode="w:gz")
long = ["x" * 200 + "/" + "y" * 200, "a/\u00e4\u4e16.txt"]
tar("long.tar", *[(name, b"long") for name in long])
with tarfile.open(path("gnu.tar"), "w", format=tarfile.GNU_FORMAT) as archive:
    info = tarfile.TarInfo(long[0])
    info.size = 4
    archive.addfile(info, io.BytesIO(b"long"))
with tarfile.open(path("git.tar"), "w", pax_headers={"comment": "0" * 40}) as archive:
    info = tarfile.TarInfo("one")
    archive.addfile(info)
zipped("good.zip", ("a/", b""), ("a/one.txt", b"one"), ("a/b/two.txt", b"two" * 100_000), ("three", b""))
zipped("stored.zip", ("a/one.txt", b"one"), method=zipfile.ZIP_STORED)
with zipfile.ZipFile(path("streamed.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
    with archive.open("one", "w", force_zip64=True) as file:
        file.write(b"one")
zipped("empty.zip")

tar("up.tar", ("../evil", b"x"))
tar("within.tar", ("a/../../evil", b"x"))
tar("absolute.tar", ("/tmp/evil", b"x"))
tar("backslash.tar", ("a\\..\\evil", b"x"))
tar("twice.tar", ("one", b"1"), ("./one", b"2"))
tar("under.tar", ("one", b"1"), ("one/two", b"2"))
tar("over.tar", ("one/two", b"2"), ("one", b"1"))
tar("named.tar", ("x" * 300, b"1"))
tar("symbolic.tar", ("link", (tarfile.SYMTYPE, "/etc/passwd")), ("link", b"x"))
tar("hard.tar", ("link", (tarfile.LNKTYPE, "/etc/passwd")))
tar("device.tar", ("zero", (tarfile.CHRTYPE, "")))
tar("fifo.tar", ("fifo", (tarfile.FIFOTYPE, "")))
tar("many.tar.gz", *[(f"d{i % 100}/f{i}", b"") for i in range(2049)], mode="w:gz")
tar("folders.tar.gz", *[(f"d{i}", (tarfile.DIRTYPE, "")) for i in range(100_001)], mode="w:gz")
changed("good.tar", "cut.tar", lambda data: data[:2500])
changed("good.tar.gz", "cut.tar.gz", lambda data: data[: len(data) // 2])
changed("good.tar", "header.tar", lambda data: data[:600] + b"\xff" + data[601:])
with gzip.open(path("text.gz"), "wb") as file:
    file.write(b"no tar at all, but a text " * 1000)
with gzip.open(path("gzip.tar.gz"), "wb") as file:
    file.write(open(path("good.tar.gz"), "rb").read())
with gzip.open(path("meta.tar.gz"), "wb") as file:
    header = tarfile.TarInfo("pax")
    header.type = tarfile.XHDTYPE
    header.size = 2**30
    file.write(header.tobuf())
    for _ in range(2**10):
        file.write(bytes(2**20))
with gzip.open(path("bomb.tar.gz"), "wb", 9) as file:
    header = tarfile.TarInfo("zeros")
    header.size = 2**30
    file.write(header.tobuf())
    for _ in range(2**10):
        file.write(bytes(2**20))
    file.write(bytes(1024))
with gzip.open(path("tail.tar.gz"), "wb", 9) as file:
    file.write(bytes(1024))
    for _ in range(2**10):
        file.write(bytes(2**20))

changed("good.tar", "body.tar", lambda data: data[:150_000])
with gzip.open(path("body.tar.gz"), "wb") as file:
    file.write(open(path("body.tar"), "rb").read())
tar("deep.tar", ("a/" * 32 + "b", b""))
tar("wide.tar.gz", *[(f"{i}/b/a", b"") for i in range(1025)], mode="w:gz")
tar("newline.tar", ("a\nb", b""))
tar("sparse.tar", ("model.onnx", (tarfile.GNUTYPE_SPARSE, "")))
with tarfile.open(path("hole.tar"), "w") as archive:
    info = tarfile.TarInfo("GNUSparseFile.1/model.onnx")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "model.onnx"}
    archive.addfile(info)
with tarfile.open(path("renamed.tar"), "w") as archive:
    info = tarfile.TarInfo("model.onnx")
    info.pax_headers = {"path": "evil.txt", "comment": "x" * 70_000}
    archive.addfile(info)
with tarfile.open(path("headers.tar.gz"), "w:gz") as archive:
    for i in range(50_001):
        info = tarfile.TarInfo("one")
        info.type = tarfile.DIRTYPE
        info.pax_headers = {"comment": "x"}
        archive.addfile(info)


def member(data, padding=0):
    """A member of a gzip, with a name as long as the padding."""
    plain = gzip.compress(data)
    return plain[:3] + b"\x08" + plain[4:10] + b"n" * padding + b"\0" + plain[10:] if padding else plain


with open(path("sniffed.tar.gz"), "wb") as file:
    inner = gzip.compress(bytes(2**28))
    first = member(inner[:1], 1)
    file.write(member(inner[:1], 65_536 - len(first) + 1) + member(inner[1:]))


def early(data):
    """A tar whose end comes long before that of its padding."""
    return data + bytes(100_000)


changed("long.tar", "padded.tar", early)
packed = bytearray(gzip.compress(open(path("padded.tar"), "rb").read(), 0))
with open(path("padded.tar.gz"), "wb") as file:
    file.write(packed)
packed[packed.index(b"long\0")] ^= 1
with open(path("flipped.tar.gz"), "wb") as file:
    file.write(packed)
with open(path("untold.tar.gz"), "wb") as file:
    file.write(gzip.compress(open(path("padded.tar"), "rb").read())[:-8])


def old(data):
    """As tars were before 1988, which have no magic."""
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return data


tar("one.tar", ("one", b"one"))
changed("one.tar", "old.tar", old)
with open(path("ustar.onnx"), "wb") as file:
    file.write(b"\x08\x07\x32\xfe\x03" + b"a" * 252 + b"ustar" + b"a" * 300)

zipped("up.zip", ("../evil", b"x"))
zipped("absolute.zip", ("/tmp/evil", b"x"))
zipped("twice.zip", ("one", b"1"), ("./one", b"2"))
zipped("symbolic.zip", (entry("link", 0o120777), b"/etc/passwd"))
zipped("fifo.zip", (entry("fifo", 0o010644), b""))
zipped("bomb.zip", ("zeros", bytes(2**28)))
zipped("lzma.zip", ("one", b"one"), method=zipfile.ZIP_LZMA)
zipped("many.zip", *[(f"f{i}", b"") for i in range(2049)])
changed("stored.zip", "sum.zip", lambda data: data.replace(b"txtone", b"txttwo"))
changed("good.zip", "cut.zip", lambda data: data[: len(data) // 2])
changed("good.zip", "encrypted.zip", lambda data: data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"))


def lying(data):
    """The length in the central directory is not that of what is there."""
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1).to_bytes(4, "little")
    return data


zipped("one.zip", ("one", b"one" * 100))
changed("one.zip", "lying.zip", lying)

zipped("named.zip", ("\u043c/\u043e.txt", b"one"))


def unsaid(data):
    """UTF-8 that is not told to be so, as Info-ZIP writes it."""
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(header)
        data[at + flags + 1] &= 0xF7
    return data


changed("named.zip", "unsaid.zip", unsaid)


def located(data):
    """An end that is said to be behind everything."""
    at = data.index(b"PK\x05\x06")
    locator = b"PK\x06\x07" + bytes(4) + b"\xff" * 8 + (1).to_bytes(4, "little")
    end = bytearray(data[at:])
    end[8:20] = b"\xff" * 12
    return data[:at] + locator + end


changed("one.zip", "located.zip", located)
