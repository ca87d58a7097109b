// A template as `cdk` wrote it into a cloud assembly.

import { readFileSync } from 'node:fs'
import path from 'node:path'

type Resource = { Type: string; Properties: Record<string, any> }
export type Template = { types: readonly string[]; ofType(type: string): readonly Resource[]; text: string }

export function readTemplate(assembly: string, stack: string): Template {
  const text = readFileSync(path.join(assembly, `${stack}.template.json`), 'utf8')
  const resources = Object.values((JSON.parse(text) as { Resources: Record<string, Resource> }).Resources)
  return {
    types: [...new Set(resources.map((resource) => resource.Type))],
    ofType: (type) => resources.filter((resource) => resource.Type === type),
    text,
  }
}
