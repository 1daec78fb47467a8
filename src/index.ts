/** What `import { Henge } from 'henge'` gives: the client, its types and its errors. */
export * from './client/index.js';
export { isVersion, type Version } from './protocol/version.js';
