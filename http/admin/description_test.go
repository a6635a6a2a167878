package admin_test

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/docs"
	"github.com/matrixon/matrixon/http/admin"
)

// ndjson is JSON, one value a line.
const ndjson = "application/x-ndjson"

// operation is what the description says of a method of a path.
type operation struct {
	method string
	path   *regexp.Regexp
	// answers are the schemas of the answers by status, and that of all others as 0. One that is no JSON has none.
	answers map[int]*jsonschema.Schema
}

// described are the operations of the description. What it says is JSON Schema, as OpenAPI 3.1 has it.
var described = sync.OnceValues(func() ([]operation, error) {
	raw, err := yaml.YAMLToJSON(docs.AdminAPI)
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	const name = "https://matrixon.example/admin-api.json"
	if err := compiler.AddResource(name, document); err != nil {
		return nil, err
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	var all []operation
	for path, methods := range gjson.GetBytes(raw, "paths").Map() {
		for method, what := range methods.Map() {
			if method == "parameters" {
				continue
			}
			o := operation{strings.ToUpper(method), regexp.MustCompile("^" + regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$"), map[int]*jsonschema.Schema{}}
			for status, answer := range what.Get("responses").Map() {
				at := "#/paths/" + escape.Replace(path) + "/" + method + "/responses/" + status
				if ref := answer.Get("$ref").Str; ref != "" {
					at, answer = ref, gjson.GetBytes(raw, strings.ReplaceAll(strings.TrimPrefix(ref, "#/"), "/", "."))
				}
				number, err := strconv.Atoi(status)
				if err != nil {
					number = 0 // the default
				}
				o.answers[number] = nil
				for kind := range answer.Get("content").Map() {
					if kind != "application/json" && kind != ndjson {
						continue
					}
					if o.answers[number], err = compiler.Compile(name + at + "/content/" + escape.Replace(kind) + "/schema"); err != nil {
						return nil, err
					}
				}
			}
			all = append(all, o)
		}
	}
	return all, nil
})

// checkDescribed compares an answer with the description: every test that asks is one of it.
func checkDescribed(t *testing.T, method, path string, status int, raw []byte) {
	t.Helper()
	operations, err := described()
	if err != nil {
		t.Fatal(err)
	}
	path, _, _ = strings.Cut(path, "?")
	i := slices.IndexFunc(operations, func(o operation) bool { return o.method == method && o.path.MatchString(path) })
	if i < 0 {
		return // as TestTheDescriptionIsComplete finds
	}
	schema, is := operations[i].answers[status]
	if !is {
		schema = operations[i].answers[0]
	}
	if schema == nil {
		return
	}
	for line := range strings.Lines(string(raw)) { // of JSON there is one
		answer, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(answer)
		}
		if err != nil {
			t.Errorf("%s %s: %d %.500s is not as it is described: %v", method, path, status, line, err)
		}
	}
}

func TestTheDescriptionIsComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operations, err := described()
	if err != nil {
		t.Fatal(err)
	}
	w.deps.Media = w.Media
	served := []string{http.MethodPost + " /backup"} // on the socket
	for _, e := range admin.Endpoints(w.deps) {
		path := strings.TrimPrefix(e.Path, admin.Base)
		served = append(served, e.Methods[0]+" "+path)
		if !slices.ContainsFunc(operations, func(o operation) bool { return o.method == e.Methods[0] && o.path.MatchString(path) }) {
			t.Errorf("%s %s is not described", e.Methods[0], path)
		}
	}
	if len(operations) != len(served) {
		t.Errorf("%d operations are described, and %d are served", len(operations), len(served))
	}
}
