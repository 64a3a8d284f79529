import { decodeRerank, encodeRerank } from '../protocol/rerank.ts';
import type { Answering, TextTools } from './answering.ts';
import { encoded } from './encoded-text.ts';
import { scoresOf } from './scores.ts';
import type { RerankTask } from './task.ts';
import { tokensOf } from './text-classification.ts';
import { TextClassifier } from './text-classifier.ts';

/**
 * Answers `POST /v1/rerank` by a model that takes two texts together and gives one number (R. Nogueira, K. Cho, "Passage Re-ranking
 * with BERT", 2019).
 *
 * @throws UnfitModel
 */
export function rerank({ session, tokenizer, name }: TextTools, task: RerankTask): Answering {
  tokenizer.pairFrame();
  const classifier = new TextClassifier(session, task.kind, tokenizer.paddingId, 1);
  return async (body, progress) => {
    const request = decodeRerank(body, name);
    const query = encoded('query', () => tokenizer.encodeBare(request.query));
    const rows = request.documents.map((document, index) => {
      progress.goOn();
      return tokenizer.pair(
        query,
        encoded(`documents[${index}]`, () => tokenizer.encodeBare(document)),
        'longest',
      );
    });
    const logits = await classifier.logits(rows, progress);
    const scores = logits.map((logit) => scoresOf(logit, task.scoring)[0] ?? 0);
    return encodeRerank(name, request, scores, tokensOf(rows));
  };
}
