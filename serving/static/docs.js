// The API's reference, drawn from openapi.json.
const api = await (await fetch("openapi.json")).json();
document.getElementById("title").textContent = api.info.title;
document.getElementById("description").textContent = api.info.description ?? "";

for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    document.getElementById("operations").append(section(path, method, operation));
  }
}

function section(path, method, operation) {
  const details = element("details", "operation");
  const summary = element("summary");
  summary.append(element("b", `method ${method}`, method.toUpperCase()), element("code", "", path), element("span", "quiet", operation.summary ?? ""));
  details.append(summary);
  if (operation.description) details.append(prose(operation.description));
  for (const [language, text] of Object.entries(operation["x-examples"] ?? {})) {
    const address = location.href.replace(/\/docs[^/]*$/, "");
    details.append(element("h3", "", language), element("pre", "example", text.replaceAll("{address}", address)));
  }
  const fields = [
    ...(operation.parameters ?? []).map((field) => [field.name, `${field.in}, ${kind(field.schema)}`, field.description]),
    ...Object.entries(operation.requestBody?.content ?? {}).flatMap(([type, { schema }]) => rows(schema, type)),
  ];
  if (fields.length) details.append(element("h3", "", "Request"), table(fields));
  for (const [status, { content, description, headers }] of Object.entries(operation.responses)) {
    details.append(element("h3", "", `${status} ${description}`));
    const sent = Object.entries(headers ?? {}).map(([name, header]) => [name, `header, ${kind(header.schema)}`, header.description]);
    if (sent.length) details.append(table(sent));
    for (const [type, { schema }] of Object.entries(content ?? {})) {
      details.append(schema?.$ref ? table(rows(schema, type)) : element("p", "quiet", type));
    }
  }
  return details;
}

// Text with `code` in it.
function prose(text) {
  const paragraph = element("p");
  text.split("`").forEach((part, index) => paragraph.append(element(index % 2 ? "code" : "span", "", part)));
  return paragraph;
}

function rows(schema, where, depth = 0) {
  const resolved = resolve(schema);
  const inner = resolved.type === "array" ? resolve(resolved.items) : resolved;
  return Object.entries(inner.properties ?? {}).flatMap(([name, field]) => [
    [`${"  ".repeat(depth)}${name}`, depth ? kind(field) : `${where}, ${kind(field)}`, field.description],
    ...(depth < 4 ? rows(field, where, depth + 1) : []),
  ]);
}

function resolve(schema) {
  if (!schema) return {};
  const concrete = schema.anyOf ? schema.anyOf.find((option) => option.type !== "null") : schema;
  return concrete.$ref ? api.components.schemas[concrete.$ref.split("/").at(-1)] : concrete;
}

function kind(schema) {
  const resolved = resolve(schema);
  if (resolved.enum) return resolved.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (resolved.type === "array") return `list of ${kind(resolved.items)}`;
  return resolved.format ?? resolved.contentMediaType ?? resolved.type ?? "any";
}

function table(fields) {
  const made = element("table");
  for (const [name, type, description] of fields) {
    const row = element("tr");
    row.append(element("td", "field", name), element("td", "quiet", type), element("td", "", description ?? ""));
    made.append(row);
  }
  return made;
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
