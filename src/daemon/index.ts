/** The daemon's public face: what the command line may use. */
export { ConfigError, describeConfig, flagOf, loadConfig, OPTIONS } from './config.js';
export { DevCluster, type DevClusterOptions, type DevNode } from './dev-cluster.js';
export { runNode } from './run.js';
