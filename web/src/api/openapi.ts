// GET /openapi.json, as far as the page that shows it reads it.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  enum?: unknown[];
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: boolean | Schema;
  oneOf?: Schema[];
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  default?: unknown;
}

export interface Parameter {
  $ref?: string;
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  description?: string;
  schema: Schema;
}

export type Content = Record<string, { schema: Schema; example?: unknown }>;

export interface Answer {
  $ref?: string;
  description: string;
  content?: Content;
}

export interface Operation {
  operationId: string;
  summary: string;
  description: string;
  tags: [string];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<string, Answer>;
  security: Record<string, string[]>[];
}

export interface Document {
  info: { title: string; version: string; description: string };
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: Record<'schemas' | 'parameters' | 'responses', Record<string, unknown>>;
}

/** What a `$ref` of the document stands for, or the thing itself. */
export function seen<T extends { $ref?: string }>(doc: Document, thing: T): T {
  if (!thing.$ref) return thing;
  const [, part, name] = /^#\/components\/(\w+)\/(\w+)$/.exec(thing.$ref) ?? [];
  return doc.components[part as keyof Document['components']][name as string] as T;
}
