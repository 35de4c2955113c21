import type { Fault } from '../base/errors.ts'
import type { FillEnd } from './fill.ts'

/** What went wrong with a fill's sources, or with keeping it. */
export function faultsOf(end: FillEnd): readonly Fault[] {
  switch (end.at) {
    case 'kept':
    case 'stopped':
      return []
    case 'passed':
      return ['disk']
    case 'mismatch':
      return end.liars.map(() => 'digest')
    case 'failed':
      if (end.why.at !== 'error') return [end.why.at]
      return end.why.error.fault === undefined
        ? ['status']
        : [end.why.error.metFault].filter((each) => each !== undefined)
    default:
      return end satisfies never
  }
}
