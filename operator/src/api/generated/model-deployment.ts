import type { IObjectMeta } from "@kubernetes-models/apimachinery/apis/meta/v1/ObjectMeta";
import { Model, type ModelData, setValidateFunc, createTypeMetaGuard } from "@kubernetes-models/base";
import type { ValidateFunc } from "@kubernetes-models/validate";
import { validate } from "./schema.js";

/**
 * A ModelDeployment serves one model - the operator keeps a Deployment, a Service and, when asked, a HorizontalPodAutoscaler for it.
 */
export interface IModelDeployment {
  "apiVersion": "serving.slipway.dev/v1alpha1";
  "kind": "ModelDeployment";
  "metadata"?: IObjectMeta;
  /**
   * What should be served, and how.
   */
  "spec": {
    /**
     * The model, and the name and version it is served under.
     */
    "model": {
      /**
       * The name in URLs, /v2/models/NAME. Defaults to metadata.name and cannot be changed.
       */
      "name"?: string;
      /**
       * Your own label for this version of the model. It is in URLs and in the pods' labels.
       */
      "version": string;
      /**
       * Where the model file is - https://..., http://..., s3://BUCKET/KEY, gs://BUCKET/OBJECT, azblob://ACCOUNT/CONTAINER/BLOB, oci://REGISTRY/REPOSITORY:TAG/FILE, hf://ORG/NAME@REVISION/PATH, git+https://HOST/REPOSITORY@REVISION/PATH, mlflow://MODEL/VERSION/PATH, pvc://CLAIM/PATH, image://REGISTRY/REPOSITORY@sha256:DIGEST/PATH or configmap://NAME/KEY.
       */
      "uri": string;
      /**
       * A Secret of the namespace with the credentials for the store, by the names of the usual environment variables, such as AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_KEY, HF_TOKEN (docs/models.md has all), AUTHORIZATION for a web server, and ca.crt for an authority of one's own. Without it, those of the pod's service account.
       */
      "secretName"?: string;
      /**
       * Where the model is in the archive that uri names (tar, tar.gz or zip), from its top folder on. The only file that ends in .onnx, or that which the only MLmodel names, when absent.
       */
      "archivePath"?: string;
      /**
       * The domains of operators that the model may have besides ONNX's own (ai.onnx, ai.onnx.ml and those of its previews), such as com.microsoft. A model with others is refused.
       */
      "operatorDomains"?: Array<string>;
      /**
       * The SHA-256 of the model file, or of the archive, in lower-case hexadecimal. The pod refuses other bytes. Recommended, because only then is a rollback sure to bring the same model back.
       */
      "sha256"?: string;
      /**
       * Who has to have signed the model. A pod that cannot verify the signature does not load it.
       */
      "signature"?: {
        /**
         * Who has to have signed it, with a certificate that comes with the signature in a Sigstore bundle, as model_signing sign certificate and cosign write it.
         */
        "identity"?: {
          /**
           * One of the names that the certificate is for - an e-mail address, a URI or the name of a host, as it stands there.
           */
          "subject": string;
          /**
           * Who has told the authority who that is, as the authorities of Sigstore write it into certificates. It does not matter when absent.
           */
          "issuer"?: string;
          /**
           * The certificates of the authorities that may have issued it, in PEM, one behind the other.
           */
          "authorities": string;
        };
        /**
         * The public key, of Ed25519 or ECDSA (P-256, P-384, P-521), in PEM. What it has to have signed is the model file, as cosign sign-blob does, or all of its files, as model_signing does.
         */
        "publicKey"?: string;
        /**
         * The name of the signature beside the model file, in the same store. That of the model file with .sig behind it when absent.
         */
        "file"?: string;
      };
      /**
       * A larger model file is refused while it is fetched. Also the size of the pod's model volume. 2Gi when absent.
       */
      "maxBytes"?: number | string;
    };
    /**
     * The number of pods; 1 when absent. Not together with autoscaling.
     */
    "replicas"?: number;
    /**
     * What one pod requests and may use. 100m of CPU and 256Mi of memory are requested when nothing is set.
     */
    "resources"?: {
      /**
       * Amounts by resource - cpu, memory, ephemeral-storage or an extended resource.
       */
      "requests"?: {
        [key: string]: number | string;
      };
      /**
       * Amounts by resource - cpu, memory, ephemeral-storage or an extended resource.
       */
      "limits"?: {
        [key: string]: number | string;
      };
    };
    /**
     * How the model is run.
     */
    "runtime"?: {
      /**
       * What the model is used for beside its tensors. TextEmbedding takes texts at /v1/embeddings, as OpenAI's API does, with the tokenizer.json beside the model; TextClassification and ZeroShot at /v1/classify, with the config.json beside it as well, and TokenClassification at /v1/entities; ImageClassification takes pictures there, with config.json and preprocessor_config.json, and ObjectDetection at /v1/detect; Rerank takes a query and documents at /v1/rerank; Tabular takes rows of named columns at /invocations, as MLflow does.
       */
      "task"?: "TextEmbedding" | "TextClassification" | "TokenClassification" | "ZeroShot" | "Rerank" | "ImageClassification" | "ObjectDetection" | "Tabular";
      /**
       * How the task TextEmbedding makes vectors of texts.
       */
      "embedding"?: {
        /**
         * How the vectors of tokens become one of the text, where the model gives those of tokens. Mean when absent.
         */
        "pooling"?: "Mean" | "FirstToken" | "LastToken";
        /**
         * Whether vectors are made 1 long. Enabled when absent.
         */
        "normalization"?: "Enabled" | "Disabled";
        /**
         * The tokens of a text, or of two together, at most, with the special ones; longer texts are cut. What tokenizer.json says when absent, or 512.
         */
        "maxTokens"?: number;
      };
      /**
       * How the tasks TextClassification and ImageClassification make scores of what the model gives for its labels.
       */
      "classification"?: {
        /**
         * Softmax for labels of which one is right, Sigmoid for labels of which each may be, Logits for the model's own numbers. What config.json says when absent.
         */
        "scoring"?: "Softmax" | "Sigmoid" | "Logits";
        /**
         * The tokens of a text, or of two together, at most, with the special ones; longer texts are cut. What tokenizer.json says when absent, or 512.
         */
        "maxTokens"?: number;
        /**
         * The pixels of a picture at most, of each of which eleven bytes may be held in memory; larger ones are refused. 25000000 when absent.
         */
        "maxPixels"?: number;
        /**
         * Hosts from which pictures are fetched that requests name by their addresses, such as images.example.com, or \*.example.com for all below one; \* stands for every address that is public. Nothing is fetched when absent.
         */
        "pictureHosts"?: Array<string>;
      };
      /**
       * What pictures the task ObjectDetection takes.
       */
      "detection"?: {
        /**
         * The pixels of a picture at most, of each of which eleven bytes may be held in memory; larger ones are refused. 25000000 when absent.
         */
        "maxPixels"?: number;
        /**
         * Hosts from which pictures are fetched that requests name by their addresses, such as images.example.com, or \*.example.com for all below one; \* stands for every address that is public. Nothing is fetched when absent.
         */
        "pictureHosts"?: Array<string>;
      };
      /**
       * How the task TokenClassification finds what texts name.
       */
      "entities"?: {
        /**
         * Simple for the label of each token, First for that of the first token of a word. Simple when absent.
         */
        "aggregation"?: "Simple" | "First";
        /**
         * The tokens of a text at most, with the special ones; longer texts are refused. What tokenizer.json says when absent, or 512.
         */
        "maxTokens"?: number;
      };
      /**
       * How the task ZeroShot asks the model about a label.
       */
      "zeroShot"?: {
        /**
         * The sentence that is to follow from the text, with {} for the label. "This example is {}." when absent.
         */
        "hypothesis"?: string;
        /**
         * The tokens of a text, or of two together, at most, with the special ones; longer texts are cut. What tokenizer.json says when absent, or 512.
         */
        "maxTokens"?: number;
      };
      /**
       * How the task Rerank makes scores of what the model gives for a query and a document.
       */
      "rerank"?: {
        /**
         * Sigmoid for scores between 0 and 1, Logits for the model's own numbers. Sigmoid when absent.
         */
        "scoring"?: "Sigmoid" | "Logits";
        /**
         * The tokens of a text, or of two together, at most, with the special ones; longer texts are cut. What tokenizer.json says when absent, or 512.
         */
        "maxTokens"?: number;
      };
      /**
       * What the task Tabular knows of the columns beside what the model says.
       */
      "tabular"?: {
        /**
         * The columns of a model that takes them side by side in one input, all of them and in its order; of one with an input for each, those that have categories.
         */
        "columns": Array<{
          "name": string;
          /**
           * The words of a column for which the model takes numbers - the first is 0, the second 1 and so on.
           */
          "categories"?: Array<string>;
        }>;
      };
      /**
       * The module handler.mjs beside the model takes requests at /predict. It makes tensors of what is sent, and an answer of what the model gives, in a process of its own without network, environment and other files. Not used when absent.
       */
      "handler"?: {
        /**
         * The files beside the model that it reads.
         */
        "files"?: Array<string>;
        /**
         * The models beside that of model.uri which it runs as well, by the names of their files. What one has in other files is named in files.
         */
        "models"?: Array<string>;
        /**
         * Where it runs. Process is one of its own beside what serves, in the same container; Container is a container of its own, with resources of its own. Process when absent.
         */
        "isolation"?: "Process" | "Container";
        /**
         * What its container requests and may use. 50m of CPU and 192Mi of memory are requested when nothing is set. Only with isolation Container.
         */
        "resources"?: {
          /**
           * Amounts by resource - cpu, memory, ephemeral-storage or an extended resource.
           */
          "requests"?: {
            [key: string]: number | string;
          };
          /**
           * Amounts by resource - cpu, memory, ephemeral-storage or an extended resource.
           */
          "limits"?: {
            [key: string]: number | string;
          };
        };
        /**
         * How long it may take to make tensors, and how long to make an answer; then its process is ended and started anew. 10000 when absent.
         */
        "timeoutMilliseconds"?: number;
      };
      /**
       * The inference image. The operator's own when absent, taken when a revision is made and kept for it.
       */
      "image"?: string;
      /**
       * The threads that one inference uses. The CPU limit, shared among the instances and rounded up, when absent; 1 without a CPU limit.
       */
      "threads"?: number;
      /**
       * The processes of a pod that run the model, each with a copy of it in memory. 1 when absent.
       */
      "instances"?: number;
      /**
       * The requests that may wait or be computed in a pod at once; more are refused with 503 and Retry-After. 256 when absent.
       */
      "maxInFlight"?: number;
      /**
       * Requests that come together are given to the model as one. The first dimension of each of its tensors has to be free, and its rows independent of one another.
       */
      "batching"?: {
        /**
         * The rows of one run at most.
         */
        "maxSize": number;
        /**
         * How long a request may wait for others. 0 when absent, and those that have come by then are taken.
         */
        "maxDelayMilliseconds"?: number;
      };
      /**
       * Of a hundred requests, how many a pod writes to its log; those that it failed at are written as soon as any are. 0 when absent.
       */
      "accessLogPercent"?: number;
      /**
       * Whether pods ask a cache on their node for the model before its store, which needs model.sha256, and the chart's nodeCache.enabled. None when absent.
       */
      "cache"?: "None" | "Node";
      /**
       * Whether a pod has a page for people at / of its port 8080. Enabled when absent.
       */
      "page"?: "Enabled" | "Disabled";
      /**
       * How long an answer may take, after which it is 504; a request may ask for less. 30000 when absent.
       */
      "requestTimeoutMilliseconds"?: number;
    };
    /**
     * Where and how the pods run.
     */
    "pod"?: {
      /**
       * Labels for the pods, beside the operator's own.
       */
      "labels"?: {
        [key: string]: string;
      };
      /**
       * Annotations for the pods, beside the operator's own.
       */
      "annotations"?: {
        [key: string]: string;
      };
      /**
       * Environment variables of the model container.
       */
      "env"?: Array<{
        "name": string;
        "value"?: string;
        /**
         * Takes the value from a Secret or a ConfigMap of the namespace.
         */
        "valueFrom"?: {
          "secretKeyRef"?: {
            "name": string;
            "key": string;
            "optional"?: boolean;
          };
          "configMapKeyRef"?: {
            "name": string;
            "key": string;
            "optional"?: boolean;
          };
        };
      }>;
      /**
       * Labels that a node must have.
       */
      "nodeSelector"?: {
        [key: string]: string;
      };
      /**
       * Taints of nodes that the pods tolerate.
       */
      "tolerations"?: Array<{
        "key"?: string;
        "operator"?: "Exists" | "Equal";
        "value"?: string;
        "effect"?: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
        "tolerationSeconds"?: number;
      }>;
      /**
       * How the pods of one revision spread over zones or nodes.
       */
      "topologySpreadConstraints"?: Array<{
        "maxSkew": number;
        "minDomains"?: number;
        "topologyKey": string;
        "whenUnsatisfiable": "DoNotSchedule" | "ScheduleAnyway";
      }>;
      /**
       * The service account of the pods. No token of it is mounted.
       */
      "serviceAccountName"?: string;
      /**
       * The priority class of the pods.
       */
      "priorityClassName"?: string;
      /**
       * Secrets of the namespace with which the image is pulled.
       */
      "imagePullSecrets"?: Array<{
        "name": string;
      }>;
    };
    /**
     * Lets the number of pods follow the load. Not together with replicas.
     */
    "autoscaling"?: {
      /**
       * The fewest pods.
       */
      "minReplicas"?: number;
      /**
       * The most pods.
       */
      "maxReplicas": number;
      /**
       * What the number of pods follows. The trigger that asks for the most pods wins.
       */
      "triggers": Array<{
        /**
         * What is measured.
         */
        "type": "CPU" | "Memory";
        /**
         * For CPU - the percentage of requests.cpu that the model container should use, averaged over pods.
         */
        "averageUtilization"?: number;
        /**
         * For Memory - the bytes that the model container should use, averaged over pods.
         */
        "averageValue"?: number | string;
      }>;
      /**
       * How fast pods are added and removed, passed through to the HorizontalPodAutoscaler untouched.
       */
      "behavior"?: {
        "scaleUp"?: {
          "stabilizationWindowSeconds"?: number;
          "selectPolicy"?: "Max" | "Min" | "Disabled";
          "tolerance"?: number | string;
          "policies"?: Array<{
            "type": "Pods" | "Percent";
            "value": number;
            "periodSeconds": number;
          }>;
        };
        "scaleDown"?: {
          "stabilizationWindowSeconds"?: number;
          "selectPolicy"?: "Max" | "Min" | "Disabled";
          "tolerance"?: number | string;
          "policies"?: Array<{
            "type": "Pods" | "Percent";
            "value": number;
            "periodSeconds": number;
          }>;
        };
      };
    };
    /**
     * How the model is reached inside the cluster.
     */
    "service"?: {
      /**
       * Enabled gives the Service the ports of TensorFlow Serving, 8500 for gRPC and 8501 for REST, beside its own. Disabled when absent.
       */
      "tensorFlowServingPorts"?: "Enabled" | "Disabled";
    };
    /**
     * How a new revision replaces the one that serves.
     */
    "rollout"?: {
      /**
       * RollingUpdate replaces pods step by step. Canary gives the new revision pods of its own and a share of the requests that grows in steps, and takes it back when an analysis of its answers fails. BlueGreen gives it as many pods as the old one has, and all requests at once.
       */
      "strategy"?: "RollingUpdate" | "Canary" | "BlueGreen";
      /**
       * How the share of a new revision grows. Only with strategy Canary.
       */
      "canary"?: {
        /**
         * How requests reach the new revision. Pods - the pods of the one that serves pass its share on, exactly. Replicas - the Service selects the pods of both, for images that are not ours; the share is that of the pods. Gateway - by the weights of your HTTPRoutes and GRPCRoutes. Pods when absent.
         */
        "routing"?: "Pods" | "Replicas" | "Gateway";
        /**
         * With routing Gateway, the routes of the namespace that refer to the Service of the model.
         */
        "gateway"?: {
          /**
           * Names of routes.
           */
          "httpRoutes"?: Array<string>;
          /**
           * Names of routes.
           */
          "grpcRoutes"?: Array<string>;
        };
        /**
         * What share of the requests the new revision is given, and for how long. After the last step it takes the place of the old one. 5, 25 and 50 % for a minute each when absent.
         */
        "steps"?: Array<{
          /**
           * The percentage of requests that the new revision is given.
           */
          "weight": number;
          /**
           * For how long it is given that at least; longer while an analysis is inconclusive.
           */
          "holdSeconds"?: number;
          /**
           * Manual waits until somebody resumes or promotes.
           */
          "hold"?: "Manual";
        }>;
        /**
         * Of the requests that the revision that serves answers, which percentage the new one is asked as well, for comparison. Its answers are thrown away. 0 when absent.
         */
        "mirrorPercent"?: number;
        /**
         * Lets a header of requests decide, and not chance, so that a caller meets one revision.
         */
        "stickyBy"?: {
          /**
           * The name of the header. Requests without it are shared out by chance.
           */
          "header": string;
        };
      };
      /**
       * When a new revision takes over from the old one, and for how long that is kept. Only with strategy BlueGreen.
       */
      "blueGreen"?: {
        /**
         * How requests reach the new revision. Pods - the pods of the one that serves pass its share on, exactly. Replicas - the Service selects the pods of both, for images that are not ours; the share is that of the pods. Gateway - by the weights of your HTTPRoutes and GRPCRoutes. Pods when absent.
         */
        "routing"?: "Pods" | "Replicas" | "Gateway";
        /**
         * With routing Gateway, the routes of the namespace that refer to the Service of the model.
         */
        "gateway"?: {
          /**
           * Names of routes.
           */
          "httpRoutes"?: Array<string>;
          /**
           * Names of routes.
           */
          "grpcRoutes"?: Array<string>;
        };
        /**
         * Of the requests that the old revision answers, which percentage the new one is asked as well, for comparison. Its answers are thrown away. 0 when absent.
         */
        "mirrorPercent"?: number;
        /**
         * For how long the new revision stands by, once all of its pods are available, before it is given all requests. 60 when absent.
         */
        "holdSeconds"?: number;
        /**
         * Manual waits until somebody resumes or promotes.
         */
        "hold"?: "Manual";
        /**
         * For how long the old revision is kept, so that going back is instant, while the new one has all requests. 300 when absent.
         */
        "soakSeconds"?: number;
      };
      /**
       * What the answers of a canary are judged by. Only with strategy Canary or BlueGreen. One gate, an error rate of at most 1 %, when absent.
       */
      "analysis"?: {
        /**
         * How often it is looked at, and the intervals in which is counted.
         */
        "intervalSeconds"?: number;
        /**
         * With fewer requests in a step, a gate that has not failed is inconclusive at its end.
         */
        "minRequests"?: number;
        /**
         * The probability with which a revision that is as good as the gates ask for is not rolled back, in the whole rollout, however often it is looked at.
         */
        "confidence"?: string;
        /**
         * What happens when the time of a step is over and a gate is inconclusive. Wait goes on with the step, Promote goes on to the next, Rollback takes the revision back.
         */
        "onInconclusive"?: "Wait" | "Promote" | "Rollback";
        /**
         * Each of them must hold. One that fails takes the revision back.
         */
        "gates"?: Array<{
          /**
           * ErrorRate - requests that the canary does not answer, or with an error. Latency - of its own answers. LatencyVersusStable - the same beside that of the pods of the revision that serves. Agreement - mirrored answers that are those of the revision that serves. PromQL - what a query of your Prometheus gives.
           */
          "metric": "ErrorRate" | "Latency" | "LatencyVersusStable" | "Agreement" | "PromQL";
          /**
           * A percentage; for PromQL a number.
           */
          "max"?: string;
          /**
           * For Agreement a percentage; for PromQL a number.
           */
          "min"?: string;
          /**
           * For PromQL - what the gate is called in status and metrics.
           */
          "name"?: string;
          /**
           * For PromQL - a query that gives one number at the end of each interval. $namespace, $name, $revision, $stableRevision and $interval stand for what they say; the canary's pods are $name-canary-.\*
           */
          "query"?: string;
          /**
           * For Agreement - how outputs are compared. Those that are not named, within 0.00001 plus 0.0001 of the value.
           */
          "outputs"?: Array<{
            /**
             * The name of the output.
             */
            "name": string;
            /**
             * Exact - the same values. Tolerance - floats may be off a little. Argmax - the largest value of the last dimension is at the same place.
             */
            "compare": "Exact" | "Tolerance" | "Argmax";
            /**
             * How far a float may be off.
             */
            "absolute"?: string;
            /**
             * How far a float may be off.
             */
            "relative"?: string;
          }>;
          /**
           * Of the latencies, which one.
           */
          "percentile"?: number;
          /**
           * How long it may be. Judged at the next edge of the histogram above it, which is at most 25 % higher.
           */
          "maxMilliseconds"?: number;
        }>;
      };
      /**
       * Pods above the wanted number during a rollout, as a number or a percentage.
       */
      "maxSurge"?: number | string;
      /**
       * Pods below the wanted number during a rollout, as a number or a percentage.
       */
      "maxUnavailable"?: number | string;
      /**
       * A rollout that makes no progress for so long has failed.
       */
      "progressDeadlineSeconds"?: number;
      /**
       * Old revisions that are kept to go back to.
       */
      "revisionHistoryLimit"?: number;
      /**
       * What happens when a new revision misses its deadline. Rollback goes back to the newest healthy revision; Pause leaves things as they are.
       */
      "onFailure"?: "Rollback" | "Pause";
      /**
       * What happens when somebody undoes the Deployment, as kubectl rollout undo does. Adopt keeps the revision it went back to until the spec asks for another; Revert puts it back.
       */
      "externalUndo"?: "Adopt" | "Revert";
      /**
       * Nodes fetches the model of a new revision to the caches of the nodes that run the one before, and only then begins with the rollout. It needs runtime.cache Node.
       */
      "prefetch"?: "None" | "Nodes";
    };
    /**
     * What is checked before a new revision replaces the one that serves.
     */
    "validation"?: {
      /**
       * May old requests still be sent to the new model? Backward asks a pod of the new revision beside those that serve, and does not roll it out if not; Ignore does not ask. When absent, Ignore with rollout.strategy RollingUpdate, and Backward otherwise.
       */
      "contract"?: "Backward" | "Ignore";
      /**
       * Requests with the answers that are expected. A pod that answers otherwise does not become ready. Part of the revision.
       */
      "goldenSet"?: {
        /**
         * The ConfigMap of the namespace that has it.
         */
        "configMapName": string;
        /**
         * Its key in the ConfigMap.
         */
        "key": string;
        /**
         * The SHA-256 digest of its text, in hexadecimal.
         */
        "sha256": string;
      };
    };
  };
  /**
   * What is the case, written by the operator.
   */
  "status"?: {
    /**
     * The generation of this object that the status speaks of. -1 before the operator has seen it.
     */
    "observedGeneration"?: number;
    /**
     * What is the case, each with a reason.
     */
    "conditions"?: Array<{
      "type": string;
      "status": "True" | "False" | "Unknown";
      "reason": string;
      "message": string;
      "lastTransitionTime": string;
      "observedGeneration"?: number;
    }>;
    /**
     * Pods that exist.
     */
    "replicas"?: number;
    /**
     * Pods that serve.
     */
    "readyReplicas"?: number;
    /**
     * The label selector of the pods, as a string.
     */
    "selector"?: string;
    /**
     * Where the model answers inside the cluster.
     */
    "url"?: string;
    /**
     * The revision that serves.
     */
    "currentRevision"?: string;
    /**
     * The revision that the spec asks for.
     */
    "updateRevision"?: string;
    /**
     * The model version that serves.
     */
    "modelVersion"?: string;
    /**
     * The digest of the model that serves, as its pods report it.
     */
    "modelDigest"?: string;
    /**
     * What the tag or branch in the URI of the model that serves led to; absent where the URI has none.
     */
    "resolvedUri"?: string;
    /**
     * Where the rollout stands.
     */
    "rollout"?: {
      "message"?: string;
      /**
       * When the Deployment was told to run the revision that it should run now.
       */
      "startTime"?: string;
      /**
       * When the rollout last made progress; absent once it was complete.
       */
      "progressTime"?: string;
      /**
       * When every pod first ran that revision; absent while no pod does, or was asked for.
       */
      "completeTime"?: string;
      /**
       * When kubectl rollout restart was called last, as far as the pods still tell.
       */
      "restartedAt"?: string;
      /**
       * The routes of a Gateway whose weights were changed for a canary and are not what they were yet.
       */
      "routes"?: Array<{
        "kind": "HTTPRoute" | "GRPCRoute";
        "name": string;
      }>;
      /**
       * While this is there, a revision has pods of its own beside those of the one that serves.
       */
      "canary"?: {
        /**
         * The revision that is tried.
         */
        "revision": string;
        /**
         * The revision that serves.
         */
        "stableRevision": string;
        /**
         * How many pods that had when it began: its autoscaler does not go below.
         */
        "stableReplicas"?: number;
        /**
         * Scaling - pods for the next step are coming up. Holding - the step is under way. Promoting - it takes the place of the revision that serves. Failed - it gets no request, and is kept for somebody to look at.
         */
        "state": "Scaling" | "Holding" | "Promoting" | "Failed";
        /**
         * The step, from 1.
         */
        "step": number;
        /**
         * The percentage of requests that it is given.
         */
        "weight": number;
        /**
         * Since when the state is so.
         */
        "time": string;
        /**
         * Since when somebody has paused it.
         */
        "paused"?: string;
        /**
         * What it waits for, or why it failed.
         */
        "message"?: string;
        /**
         * When that was found that measurements has. It is written with each verdict and once in an interval.
         */
        "measuredTime"?: string;
        /**
         * What each gate has found in this step.
         */
        "measurements"?: Array<{
          "gate": string;
          "verdict": "Passed" | "Failed" | "Inconclusive";
          /**
           * That were counted; for PromQL, the intervals that gave a number.
           */
          "requests": number;
          /**
           * What was measured.
           */
          "value"?: string;
          /**
           * Why nothing could be measured.
           */
          "message"?: string;
          /**
           * Where it surely is not below.
           */
          "lower"?: string;
          /**
           * Where it surely is not above.
           */
          "upper"?: string;
        }>;
      };
    };
    /**
     * What a pod of a revision has told before that was rolled out, with spec.validation.
     */
    "preflight"?: {
      /**
       * The revision that was asked.
       */
      "revision": string;
      /**
       * Pending - a pod has ended without a word, and is asked again. Passed - it may be rolled out. Failed - it may not.
       */
      "verdict": "Pending" | "Passed" | "Failed";
      "reason": string;
      "message": string;
      /**
       * The digest of its model.
       */
      "digest"?: string;
      /**
       * Pods that have ended without a word.
       */
      "attempts"?: number;
      /**
       * The uid of the last of them.
       */
      "pod"?: string;
      "time": string;
    };
    /**
     * How far the model of a revision was fetched to the nodes before it was rolled out, with spec.rollout.prefetch.
     */
    "prefetch"?: {
      /**
       * The revision whose model it is.
       */
      "revision": string;
      "startTime": string;
      /**
       * Since when no node is waited for any more; absent before.
       */
      "finishTime"?: string;
      "message"?: string;
    };
    /**
     * While this is there, an older revision is kept although the spec asks for fromRevision.
     */
    "rollback"?: {
      /**
       * The revision that the spec asks for.
       */
      "fromRevision": string;
      /**
       * The revision that is kept instead.
       */
      "toRevision": string;
      /**
       * Undo - somebody undid the Deployment. ProgressDeadline - the new revision missed its deadline. GateFailed - the analysis of a canary failed. Aborted - somebody has aborted a canary.
       */
      "trigger": "Undo" | "ProgressDeadline" | "GateFailed" | "Aborted";
      /**
       * What an analysis has found.
       */
      "message"?: string;
      /**
       * The generation of the Deployment that the undo has made.
       */
      "undoneGeneration"?: number;
      /**
       * The revision that an undo has brought and that is being put back, because it was an undo of a canary.
       */
      "undone"?: string;
      /**
       * The client that undid the Deployment; who used it is in the audit log of the API server.
       */
      "fieldManager"?: string;
      "time": string;
    };
    /**
     * The value of the annotation serving.slipway.dev/retry that was dealt with last.
     */
    "retry"?: string;
    /**
     * The values of the annotations serving.slipway.dev/promote, abort, pause and resume that were dealt with last.
     */
    "commands"?: {
      "promote"?: string;
      "abort"?: string;
      "pause"?: string;
      "resume"?: string;
    };
    /**
     * The revisions that are kept, newest first.
     */
    "history"?: Array<{
      /**
       * The name of the ControllerRevision.
       */
      "revision": string;
      /**
       * Its place in the order of revisions; the highest is the newest.
       */
      "number": number;
      "modelVersion": string;
      "sha256"?: string;
      /**
       * When the Deployment was first complete on it.
       */
      "healthySince"?: string;
    }>;
  };
}

/**
 * A ModelDeployment serves one model - the operator keeps a Deployment, a Service and, when asked, a HorizontalPodAutoscaler for it.
 */
export class ModelDeployment extends Model<IModelDeployment> implements IModelDeployment {
  "apiVersion": IModelDeployment["apiVersion"];
  "kind": IModelDeployment["kind"];
  "metadata"?: NonNullable<IModelDeployment["metadata"]>;
  "spec": IModelDeployment["spec"];
  "status"?: NonNullable<IModelDeployment["status"]>;

static apiVersion: IModelDeployment["apiVersion"] = "serving.slipway.dev/v1alpha1";
static kind: IModelDeployment["kind"] = "ModelDeployment";
static is = createTypeMetaGuard<IModelDeployment>(ModelDeployment);

constructor(data?: ModelData<IModelDeployment>) {
  super();

  this.setDefinedProps({
    apiVersion: ModelDeployment.apiVersion,
    kind: ModelDeployment.kind,
    ...data
  } as IModelDeployment);
}
}


setValidateFunc(ModelDeployment, validate as ValidateFunc<IModelDeployment>);
