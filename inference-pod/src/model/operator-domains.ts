import { shorten } from '../protocol/json-reader.ts';
import { foreignOperatorsOf } from './model-file.ts';
import { StartupError } from './startup-error.ts';

/** So many operators are named in a refusal. */
const mostNamed = 5;

/**
 * Refuses a model whose operators are not ONNX's own, unless their domains are allowed.
 *
 * @throws StartupError ModelUntrusted
 */
export async function refuseForeignOperators(path: string, allowedDomains: readonly string[]): Promise<void> {
  const foreign = await foreignOperatorsOf(path, new AbortController().signal);
  const refused = foreign.filter((operator) => !allowedDomains.includes(domainOf(operator)));
  if (refused.length === 0) return;
  const named = refused.slice(0, mostNamed).map(shorten).join(', ');
  const domains = Array.from(new Set(refused.map(domainOf)), shorten).slice(0, mostNamed);
  throw new StartupError(
    'ModelUntrusted',
    `the model has operators that are not ONNX's own: ${named}${refused.length > mostNamed ? ' and others' : ''}; if it is to be trusted, allow them in spec.model.operatorDomains: [${domains.join(', ')}]`,
  );
}

function domainOf(operator: string): string {
  return operator.slice(0, operator.lastIndexOf('.'));
}
