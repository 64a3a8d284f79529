/** A question that is asked of something else than the caches, about one ModelDeployment. */
export interface Question {
  /** What it is about: a later question of the same id takes its place. */
  readonly id: string;
  /** Another than the answer was given to makes the answer void: a restarted container, say. */
  readonly version: string;
  /** The key that is waked when there is news. */
  readonly key: string;
}

/**
 * Questions that a pass needs answered and must not wait for: they are asked beside the passes, a few at a time, kept, and
 * the pass is made again when there is news. One that failed is asked again, less and less often, for as long as passes
 * go on wanting to know.
 */
export interface Inquiries<Q extends Question, A> {
  /** The answer, as far as it is known. */
  get(question: Q): A | undefined;
  forget(id: string): void;
}

export interface InquiriesOptions<Q, A> {
  readonly ask: (question: Q) => Promise<A>;
  /** For how long an answer is taken for true, in milliseconds. */
  readonly lasts: (answer: A) => number;
  /** Makes a pass over a key, at once or later. */
  readonly wake: (key: string, afterMilliseconds: number) => void;
  readonly onError: (question: Q, error: unknown) => void;
  /** A clock that never jumps, in milliseconds. */
  readonly now: () => number;
  /** Questions that are asked at the same time. */
  readonly concurrency?: number;
}

interface Entry<Q, A> {
  question: Q;
  answer: A | undefined;
  /** When it is to be asked again. */
  askAt: number;
  failures: number;
  asking: boolean;
}

const retryMilliseconds = { first: 2000, most: 120_000 };

export function createInquiries<Q extends Question, A>(options: InquiriesOptions<Q, A>): Inquiries<Q, A> {
  const { ask, lasts, wake, onError, now, concurrency = 8 } = options;
  const entries = new Map<string, Entry<Q, A>>();
  const waiting: Entry<Q, A>[] = [];
  let running = 0;

  const settle = (entry: Entry<Q, A>, asked: Q, answer: A) => {
    const isNews = JSON.stringify(answer) !== JSON.stringify(entry.answer);
    const duration = lasts(answer);
    Object.assign(entry, { answer, failures: 0, askAt: now() + duration });
    if (isNews) wake(asked.key, 0);
  };
  const fail = (entry: Entry<Q, A>, asked: Q, error: unknown) => {
    entry.failures++;
    const delay = Math.min(retryMilliseconds.most, retryMilliseconds.first * 2 ** (entry.failures - 1));
    entry.askAt = now() + delay;
    onError(asked, error);
    // A settled model makes no pass by itself: this one asks again.
    wake(asked.key, delay);
  };
  const run = async (entry: Entry<Q, A>) => {
    const asked = entry.question;
    try {
      const answer = await ask(asked);
      if (entry.question.version === asked.version) settle(entry, asked, answer);
      // Nobody has been asked what is wanted to be known now.
      else wake(asked.key, 0);
    } catch (error) {
      if (entries.get(asked.id) === entry) fail(entry, asked, error);
    } finally {
      entry.asking = false;
      running--;
      next();
    }
  };
  const next = () => {
    while (running < concurrency) {
      const entry = waiting.shift();
      if (entry === undefined) return;
      if (entries.get(entry.question.id) !== entry) continue;
      running++;
      void run(entry);
    }
  };

  return {
    get(question) {
      let entry = entries.get(question.id);
      if (entry === undefined) {
        entry = { question, answer: undefined, askAt: 0, failures: 0, asking: false };
        entries.set(question.id, entry);
      } else if (entry.question.version !== question.version) {
        Object.assign(entry, { answer: undefined, askAt: 0, failures: 0 });
      }
      entry.question = question;
      if (!entry.asking && now() >= entry.askAt) {
        entry.asking = true;
        waiting.push(entry);
        next();
      }
      return entry.answer;
    },
    forget: (id) => entries.delete(id),
  };
}
