/*
 * cli: what an operator types.
 *
 * Promises: what can't be done is told in a sentence on standard error and by exit status 1 (2 where 1 tells what was
 * found); a wrong flag names the right one. Knows nothing of how serving is done.
 * Read next: serve.ts; a file a command.
 */
import { Command } from 'commander'
import { ConfigError } from '../base/config-trouble.ts'
import { StartError } from '../base/listening.ts'
import { versionOf } from '../base/version.ts'
import { serveCommand } from './serve.ts'
import { VerifyError, verifyCommand } from './verify.ts'

/** Runs one command; sets the exit status, never rejects. */
export async function run(argv: readonly string[]): Promise<void> {
  const program = new Command('millpond')
    .description('A pull-through cache and mirror for OCI container registries.')
    .version(versionOf(), '-V, --version', 'say the version')
    .helpOption('-h, --help', 'say what can be typed')
    .addCommand(serveCommand(), { isDefault: true })
    .addCommand(
      verifyCommand((status) => {
        process.exitCode = status
      }),
    )
  try {
    await program.parseAsync([...argv])
  } catch (error) {
    process.exitCode = error instanceof VerifyError ? 2 : 1
    process.stderr.write(`${sentenceOf(error instanceof VerifyError ? error.cause : error)}\n`)
  }
}

/** For what an operator can mend a sentence; for the rest all that is known. */
function sentenceOf(error: unknown): string {
  if (error instanceof ConfigError) return `millpond: the configuration is wrong\n${error.message}`
  if (error instanceof StartError) return `millpond: ${error.message}`
  return `millpond: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
}
