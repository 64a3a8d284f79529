import { floatTextsModule } from './generated/float-texts.ts';

/** Numbers that are written at once. */
const mostFloats = 4096;
/** The module's memory: its table, then the numbers, then their text. */
const floatsAt = 1024;
const textAt = floatsAt + 4 * mostFloats;

const leastPower = -31;
const mostPower = 45;

const module = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(floatTextsModule, 'base64')));
const { memory, write } = exportsOf(module);
const floats = new Float32Array(memory.buffer, floatsAt, mostFloats);
const bytes = Buffer.from(memory.buffer);
new BigUint64Array(memory.buffer, 0, mostPower - leastPower + 1).set(
  BigUint64Array.from({ length: mostPower - leastPower + 1 }, (_, index) => upperDigits(leastPower + index)),
);

function exportsOf({ exports: { memory, write } }: WebAssembly.Instance) {
  const isWhole = memory instanceof WebAssembly.Memory && typeof write === 'function';
  if (!isWhole) throw new Error('the module float-texts is not the one that is meant');
  return { memory, write };
}

/** The upper 64 binary digits of a power of ten, rounded up. */
function upperDigits(power: number): bigint {
  const ten = 10n ** BigInt(Math.abs(power));
  const length = BigInt(ten.toString(2).length);
  if (power < 0) return ((1n << (length + 63n)) + ten - 1n) / ten;
  return length <= 64n ? ten << (64n - length) : (ten + (1n << (length - 64n)) - 1n) >> (length - 64n);
}

/**
 * Finite numbers with commas between them. Each is the shortest text that means this float32 and no other; so 0.1 is 0.1,
 * where the double that has the same value is 0.10000000149011612. But for -0, which is -0.0, its form is that of
 * String(number).
 */
export function floatTexts(values: Float32Array): string {
  let text = '';
  for (let start = 0; start < values.length; start += mostFloats) {
    const piece = values.length <= mostFloats ? values : values.subarray(start, start + mostFloats);
    floats.set(piece);
    const end = Number(write(floatsAt, piece.length, textAt));
    text += (start === 0 ? '' : ',') + bytes.toString('latin1', textAt, end);
  }
  return text;
}
