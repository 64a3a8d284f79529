/** Sources are TypeScript modules; swc strips their types, tsc checks them (npm run check). */
const project = (displayName, roots, extra = {}) => ({
  displayName,
  roots,
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2024', parser: { syntax: 'typescript' } } }] },
  ...extra,
});

export default {
  // Most tests wait for processes, which are slow to start on a busy machine.
  testTimeout: 120_000,
  testSequencer: '<rootDir>/e2e/tests-in-order.js',
  projects: [
    project('contract', ['<rootDir>/contract']),
    project('inference-pod', ['<rootDir>/inference-pod']),
    project('node-cache', ['<rootDir>/node-cache/src']),
    project('operator', ['<rootDir>/operator/src']),
    project('cli', ['<rootDir>/cli/src']),
    project('examples', ['<rootDir>/examples']),
    // Against a real API server, with the controllers of Kubernetes and no node.
    project('api-server', ['<rootDir>/e2e/api-server'], {
      globalSetup: '<rootDir>/e2e/api-server/setup.ts',
      globalTeardown: '<rootDir>/e2e/api-server/teardown.ts',
    }),
    // Pods that fetch their model from real stores.
    project('stores', ['<rootDir>/e2e/stores']),
    // What others have made, against a pod: npm run test:integrations.
    project('integrations', ['<rootDir>/e2e/integrations']),
    // The same beside models on the local cluster.
    project('cluster-integrations', ['<rootDir>/e2e/cluster-integrations'], {
      globalSetup: '<rootDir>/e2e/scenarios/setup.ts',
    }),
    // The local cluster itself: repaired, and taken down.
    project('cluster', ['<rootDir>/e2e/cluster-life']),
    // What a user does, on a whole cluster with real pods.
    project('scenarios', ['<rootDir>/e2e/scenarios'], { globalSetup: '<rootDir>/e2e/scenarios/setup.ts' }),
  ],
};
