#!/usr/bin/env node
/** The command line's entry. Until Node is known to be new enough, nothing here may need a new one. */
const NODE_MAJOR_MIN = 24

if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
  process.stderr.write(`millpond needs Node ${NODE_MAJOR_MIN} or newer; this is Node ${process.versions.node}\n`)
  process.exitCode = 1
} else {
  void import('node:module')
    .then(({ enableCompileCache }) => enableCompileCache())
    .then(() => import('./cli/commands.ts'))
    .then(({ run }) => run(process.argv))
}
