import { Command, Option } from 'commander'
import { systemOutside } from '../base/clock.ts'
import { configKeys } from '../base/config-keys.ts'
import { type LoadedConfig, loadConfig } from '../base/config-load.ts'
import { type LevelLog, openLog } from '../base/log.ts'
import { type Server, startServer } from '../server.ts'
import { banner } from './banner.ts'
import { Lifetime } from './lifetime.ts'

/** `millpond serve`: serves until a signal ends it. */
export function serveCommand(): Command {
  const command = new Command('serve')
    .description('Serve clients; what is not told by a flag or the file is as docs/configuration.md says.')
    .option('-c, --config <file>', 'the configuration, in YAML (MILLPOND_CONFIG)')
  for (const { flag, environment, meaning } of configKeys()) {
    if (flag) command.addOption(new Option(`${flag} <value>`, `${meaning.replaceAll('`', '')} (${environment})`))
  }
  return command.action((options: Readonly<Record<string, string>>) => serve(options['config'], flagsOf(command)))
}

/** Only what was typed, by the flag's whole name. */
function flagsOf(command: Command): ReadonlyMap<string, string> {
  return new Map(
    command.options.flatMap((option): [string, string][] => {
      const value: unknown = command.getOptionValue(option.attributeName())
      return option.long && option.long !== '--config' && typeof value === 'string' ? [[option.long, value]] : []
    }),
  )
}

async function serve(path: string | undefined, flags: ReadonlyMap<string, string>): Promise<void> {
  const { config, warnings } = loadConfig(path, flags)
  const isPretty = config.log.format === 'pretty' || (config.log.format === 'auto' && process.stdout.isTTY === true)
  const log: LevelLog = await openLog({ level: config.log.level, isPretty })
  for (const warning of warnings) log.warn({}, warning)
  const lifetime = new Lifetime(process, log, systemOutside.clock)
  const server = await startServer(config, { log, isPretty })
  lifetime.own(server, () => reload(server, log, () => loadConfig(path, flags)))
  // Beside JSON lines the words for a person go where no collector of lines reads.
  const stream = isPretty ? process.stdout : process.stderr
  stream.write(banner(config, server.facts()))
  if (!isPretty) log.info(server.facts(), 'serving')
}

/** @throws {ConfigError} and what the server throws: nothing has changed then */
function reload(server: Server, log: LevelLog, load: () => LoadedConfig): void {
  const { config, warnings } = load()
  const waiting = server.reload(config)
  log.level = config.log.level
  for (const warning of warnings) log.warn({}, warning)
  for (const key of waiting) log.warn({ key }, 'this key has changed: it needs a restart')
  log.info({ waiting: waiting.length }, 'the configuration was read again')
}
