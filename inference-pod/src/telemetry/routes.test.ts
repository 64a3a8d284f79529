import { expect, test } from '@jest/globals';
import { taskRoutes } from '../serving/task-routes.ts';
import { isInference, routeOf } from './routes.ts';

test.each(Object.values(taskRoutes).flatMap(({ paths }) => paths))(
  'what is asked at %s counts as an inference',
  (path) => {
    expect(routeOf(path)).toBe(path);
    expect(isInference(routeOf(path))).toBe(true);
  },
);
