package config

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
)

//go:embed testdata/reference-head.md
var referenceHead string

var update = flag.Bool("update", false, "write docs/configuration.md")

// leaves are the paths of all keys that hold a single value or a list of them; entries of lists have the index 0.
func leaves(v reflect.Value, path string) []string {
	if isScalar(v) {
		return []string{path}
	}
	if v.Kind() == reflect.Slice {
		element := reflect.New(v.Type().Elem()).Elem()
		if isScalar(element) {
			return []string{path}
		}
		return leaves(element, join(path, "0"))
	}
	var all []string
	for i := range v.NumField() {
		all = append(all, leaves(v.Field(i), join(path, v.Type().Field(i).Tag.Get("yaml")))...)
	}
	return all
}

var (
	example = regexp.MustCompile(`(?m)^( *)#([^ #\n])`)
	index   = regexp.MustCompile(`\.\d+`)
)

// examples binds the commented file with all its examples in force.
func examples(t *testing.T) *binder {
	t.Helper()
	b := newBinder(&Config{})
	b.file("examples", []byte(example.ReplaceAllString(Commented, "$1$2")))
	if len(b.problems) > 0 {
		t.Fatal(b.problems)
	}
	return b
}

func TestCommentedFileHasEveryKey(t *testing.T) {
	t.Parallel()
	written := map[string]bool{}
	for path := range examples(t).origins {
		written[index.ReplaceAllString(path, ".0")] = true
	}
	for _, path := range leaves(reflect.ValueOf(&Config{}).Elem(), "") {
		if !written[path] {
			t.Errorf("%s is not in matrixon.yaml", path)
		}
	}
}

func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	b := examples(t)
	b.validate()
	for _, problem := range b.problems {
		t.Error(problem)
	}
}

// row is what matrixon.yaml says about a key.
type row struct {
	path, value, meaning string
	line                 int
	example              bool
}

// rows reads what matrixon.yaml says: the meaning of a key stands in the lines above it, behind it, or both.
func rows(t *testing.T) []row {
	t.Helper()
	root, _, err := parseYAML([]byte(example.ReplaceAllString(Commented, "$1$2")))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(Commented, "\n")
	var all []row
	walkKeys(root, "", func(path string, key, value ast.Node) {
		line := key.GetToken().Position.Line - 1
		r := row{path: path, line: line, example: example.MatchString(lines[line])}
		switch value.(type) {
		case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
			if strings.Contains(lines[line], ": [") || strings.Contains(lines[line], ": {") {
				r.value = value.String()
			}
		default:
			r.value = value.String()
		}
		r.meaning = meaning(lines, line)
		all = append(all, r)
	})
	return all
}

// walkKeys visits the mappings of block style; those of flow style are one value to a reader.
func walkKeys(n ast.Node, path string, visit func(path string, key, value ast.Node)) {
	switch n := n.(type) {
	case *ast.MappingNode:
		if n.IsFlowStyle {
			return
		}
		for _, pair := range n.Values {
			walkKeys(pair, path, visit)
		}
	case *ast.MappingValueNode:
		at := join(path, n.Key.GetToken().Value)
		visit(at, n.Key, n.Value)
		walkKeys(n.Value, at, visit)
	case *ast.SequenceNode:
		for _, value := range n.Values {
			walkKeys(value, join(path, "0"), visit)
		}
	}
}

func meaning(lines []string, line int) string {
	var parts []string
	for i := line - 1; i >= 0 && strings.HasPrefix(strings.TrimSpace(lines[i]), "# "); i-- {
		parts = append(parts, strings.TrimSpace(lines[i])[2:])
	}
	slices.Reverse(parts)
	if _, behind, ok := strings.Cut(lines[line], " # "); ok {
		parts = append(parts, behind)
	}
	return strings.Join(parts, " ")
}

func TestEveryKeyIsExplained(t *testing.T) {
	t.Parallel()
	for _, r := range rows(t) {
		if r.meaning == "" {
			t.Errorf("matrixon.yaml:%d: %s has no comment", r.line+1, r.path)
		}
	}
}

const reference = "../../../docs/configuration.md"

// TestReference keeps docs/configuration.md in step; go test ./cmd/matrixon/config -update writes it.
func TestReference(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(referenceHead)
	seen := map[string]bool{}
	for _, r := range rows(t) {
		if seen[r.path] {
			continue
		}
		seen[r.path] = true
		value := "`" + r.value + "`"
		if r.value == "" || r.example {
			value = ""
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.path, value, strings.ReplaceAll(r.meaning, "|", "\\|"))
	}
	if *update {
		if err := os.WriteFile(reference, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is not what matrixon.yaml says; write it with: go test ./cmd/matrixon/config -run TestReference -update", reference)
	}
}
