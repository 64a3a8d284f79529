import type { Credentials } from './credentials.ts';
import { type Remote, shown } from './remote.ts';

/** A file of a web server, asked for with the AUTHORIZATION of the Secret, as it stands there, or as anybody would. */
export function httpRemote(url: URL, credentials: Credentials): Remote {
  return {
    name: shown(url),
    async request() {
      // Of the pod's own environment it may be for something else.
      const authorization = credentials.ofSecret('AUTHORIZATION');
      return { url, headers: authorization === undefined ? {} : { authorization } };
    },
    explain({ status, isElsewhere }) {
      // Whoever it is redirected to is not shown it.
      if ((status !== 401 && status !== 403) || isElsewhere) return undefined;
      const advice =
        credentials.ofSecret('AUTHORIZATION') === undefined
          ? 'give its Authorization header as the key AUTHORIZATION of the Secret of spec.model.secretName'
          : 'check AUTHORIZATION of the Secret of spec.model.secretName';
      return { isMissing: false, advice };
    },
  };
}
