//go:build ignore

// Command openapi-requests reduces the OpenAPI files of the Matrix client-server API to what tests of requests need, and writes it
// into one file:
//
//	go run scripts/openapi-requests.go <matrix-spec>/data/api/client-server > tests/hostile/testdata/requests.json
//
// The files are Copyright The Matrix.org Foundation C.I.C. and contributors, Apache License 2.0.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// request is one endpoint.
type request struct {
	ID      string  `json:"id"`
	Method  string  `json:"method"`
	Path    string  `json:"path"`
	Auth    bool    `json:"auth,omitempty"` // an access token is needed
	Params  []param `json:"params,omitempty"`
	Fields  []field `json:"fields,omitempty"`  // of the body, with their places
	Example any     `json:"example,omitempty"` // a body
}

type param struct {
	Name string   `json:"name"`
	In   string   `json:"in"`
	Type string   `json:"type"`
	Enum []string `json:"enum,omitempty"`
}

// field is a place in the body: keys and, in arrays, 0.
type field struct {
	Path []any  `json:"path"`
	Type string `json:"type"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "the argument is the folder of the API")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return err
	}
	r := reader{}
	var all []request
	for _, file := range files {
		found, err := r.requests(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b request) int { return strings.Compare(a.ID+a.Path, b.ID+b.Path) })
	fmt.Println("[")
	for i, q := range all {
		line, err := json.Marshal(q)
		if err != nil {
			return err
		}
		if i < len(all)-1 {
			line = append(line, ',')
		}
		fmt.Println(string(line))
	}
	fmt.Println("]")
	return nil
}

// reader keeps the files that were read.
type reader map[string]map[string]any

func (r reader) file(name string) (map[string]any, error) {
	if doc, ok := r[name]; ok {
		return doc, nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r[name] = doc
	return doc, nil
}

// follow replaces a reference by what it refers to, and tells the file that it stands in.
func (r reader) follow(file string, node map[string]any) (string, map[string]any, error) {
	for {
		ref, ok := node["$ref"].(string)
		if !ok {
			return file, node, nil
		}
		path, fragment, _ := strings.Cut(ref, "#")
		if path != "" {
			file = filepath.Join(filepath.Dir(file), path)
		}
		doc, err := r.file(file)
		if err != nil {
			return "", nil, err
		}
		for _, key := range strings.Split(strings.Trim(fragment, "/"), "/") {
			if key != "" {
				doc, _ = doc[key].(map[string]any)
			}
		}
		node = doc
	}
}

func (r reader) requests(file string) ([]request, error) {
	doc, err := r.file(file)
	if err != nil {
		return nil, err
	}
	base := "/_matrix/client/v3"
	if servers, _ := doc["servers"].([]any); len(servers) > 0 {
		server, _ := servers[0].(map[string]any)
		variables, _ := server["variables"].(map[string]any)
		variable, _ := variables["basePath"].(map[string]any)
		base, _ = variable["default"].(string)
	}
	paths, _ := doc["paths"].(map[string]any)
	var found []request
	for path, item := range paths {
		operations, _ := item.(map[string]any)
		for method, o := range operations {
			operation, ok := o.(map[string]any)
			if !ok || !slices.Contains([]string{"get", "put", "post", "delete"}, method) {
				continue
			}
			q := request{Method: strings.ToUpper(method), Path: base + strings.TrimRight(path, " ")}
			q.ID, _ = operation["operationId"].(string)
			q.Auth = authenticated(operation)
			shared, _ := operations["parameters"].([]any)
			own, _ := operation["parameters"].([]any)
			if q.Params, err = r.params(file, append(slices.Clone(shared), own...)); err != nil {
				return nil, err
			}
			if body, ok := operation["requestBody"].(map[string]any); ok {
				if err := r.body(file, body, &q); err != nil {
					return nil, err
				}
			}
			found = append(found, q)
		}
	}
	return found, nil
}

func authenticated(operation map[string]any) bool {
	needs, _ := operation["security"].([]any)
	for _, n := range needs {
		if one, _ := n.(map[string]any); len(one) > 0 {
			return true
		}
	}
	return false
}

func (r reader) params(file string, list []any) ([]param, error) {
	var params []param
	for _, p := range list {
		node, _ := p.(map[string]any)
		in, node, err := r.follow(file, node)
		if err != nil {
			return nil, err
		}
		schema, _ := node["schema"].(map[string]any)
		if _, schema, err = r.follow(in, schema); err != nil {
			return nil, err
		}
		one := param{Type: typeOf(schema)}
		one.Name, _ = node["name"].(string)
		one.In, _ = node["in"].(string)
		values, _ := schema["enum"].([]any)
		for _, v := range values {
			one.Enum = append(one.Enum, fmt.Sprint(v))
		}
		if one.In == "path" || one.In == "query" {
			params = append(params, one)
		}
	}
	return params, nil
}

func typeOf(schema map[string]any) string {
	switch t := schema["type"].(type) {
	case string:
		return t
	case []any:
		return fmt.Sprint(t[0])
	}
	if schema["properties"] != nil || schema["allOf"] != nil || schema["additionalProperties"] != nil {
		return "object"
	}
	return ""
}

func (r reader) body(file string, body map[string]any, q *request) error {
	content, _ := body["content"].(map[string]any)
	media, ok := content["application/json"].(map[string]any)
	if !ok {
		return nil
	}
	if examples, _ := media["examples"].(map[string]any); examples != nil {
		names := slices.Sorted(maps.Keys(examples))
		one, _ := examples[names[0]].(map[string]any)
		_, one, err := r.follow(file, one)
		if err != nil {
			return err
		}
		q.Example = one["value"]
	}
	schema, _ := media["schema"].(map[string]any)
	example, err := r.walk(file, schema, nil, &q.Fields, 0)
	if q.Example == nil {
		q.Example = example
	}
	return err
}

// deepest is how far down the fields are listed: schemas may contain themselves.
const deepest = 5

// walk lists the fields of a schema, and gives an example of it.
func (r reader) walk(file string, schema map[string]any, path []any, fields *[]field, depth int) (any, error) {
	file, schema, err := r.follow(file, schema)
	if err != nil || depth > deepest {
		return nil, err
	}
	if len(path) > 0 {
		*fields = append(*fields, field{slices.Clone(path), typeOf(schema)})
	}
	object := map[string]any{}
	for _, kind := range []string{"allOf", "oneOf", "anyOf"} {
		parts, _ := schema[kind].([]any)
		for _, p := range parts {
			part, _ := p.(map[string]any)
			inner, err := r.walk(file, part, path, fields, depth)
			if err != nil {
				return nil, err
			}
			if m, ok := inner.(map[string]any); ok {
				maps.Copy(object, m)
			}
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		property, _ := properties[name].(map[string]any)
		inner, err := r.walk(file, property, append(slices.Clone(path), name), fields, depth+1)
		if err != nil {
			return nil, err
		}
		if inner != nil {
			object[name] = inner
		}
	}
	if example, ok := schema["example"]; ok {
		return example, nil
	}
	switch items, _ := schema["items"].(map[string]any); {
	case items != nil:
		inner, err := r.walk(file, items, append(slices.Clone(path), 0), fields, depth+1)
		if err != nil || inner == nil {
			return nil, err
		}
		return []any{inner}, nil
	case len(object) > 0:
		return object, nil
	}
	return nil, nil
}
