/** What a subcommand throws when it was called wrongly: main prints the sentence and ends with exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
