/** Everything that is built or runs is below this one folder, which is outside the repository. */
export declare const cacheFolder: string;
export declare const repository: string;
