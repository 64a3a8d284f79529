import type { Operator } from '../model/graph.ts';

/**
 * Operators whose work goes by the shapes of what they are given, not by its values: nothing that loops as often as it is
 * told, or that makes a tensor as large as it is told, and no Mod, which takes long for numbers that are far apart. Of ONNX itself, and of its traditional models.
 */
const byShape: Readonly<Record<string, ReadonlySet<string>>> = {
  '': new Set(
    `Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift BitwiseAnd
    BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant Conv ConvInteger ConvTranspose Cos Cosh
    CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Flatten Floor GRU
    Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
    GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool
    Mean MeanVarianceNormalization Min Mish Mul Neg Not Or PRelu Pow QLinearConv QLinearMatMul QuantizeLinear RNN
    Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Round Selu Shape Shrink Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Transpose Trilu Unsqueeze Where Xor`.split(/\s+/),
  ),
  'ai.onnx.ml': new Set(
    `ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder LinearClassifier LinearRegressor Normalizer
    OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
    ZipMap`.split(/\s+/),
  ),
};

/** Whether a run of a graph with these operators takes as long as any other of the same shapes. */
export function areCheapByShape(operators: readonly Operator[]): boolean {
  return operators.every(({ domain, type }) => byShape[domain]?.has(type) ?? false);
}
