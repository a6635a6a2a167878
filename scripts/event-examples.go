//go:build ignore

// Command event-examples writes the examples of events in the Matrix specification, whole, into one file:
//
//	go run scripts/event-examples.go <matrix-spec>/data/event-schemas/examples > matrix/event/testdata/examples.json
//
// The examples are Copyright The Matrix.org Foundation C.I.C. and contributors, Apache License 2.0.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "the argument is the folder of the examples")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "m.*.yaml"))
	if err != nil {
		return err
	}
	examples := map[string]any{}
	for _, file := range files {
		example, err := read(folder, filepath.Base(file))
		if err != nil {
			return err
		}
		examples[strings.TrimSuffix(filepath.Base(file), ".yaml")] = example
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	return out.Encode(examples)
}

// read reads an example, and what it refers to. The files are JSON, whatever their names say.
func read(folder, file string) (any, error) {
	raw, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		return nil, err
	}
	var value any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return resolve(folder, filepath.Dir(file), value)
}

// resolve puts what they stand for in the place of references. The own members of an object go before those it refers to.
func resolve(folder, from string, value any) (any, error) {
	object, ok := value.(map[string]any)
	if !ok {
		return value, nil
	}
	for name, member := range object {
		resolved, err := resolve(folder, from, member)
		if err != nil {
			return nil, err
		}
		object[name] = resolved
	}
	ref, ok := object["$ref"].(string)
	if !ok {
		return object, nil
	}
	delete(object, "$ref")
	target, err := read(folder, filepath.Join(from, ref))
	if err != nil || len(object) == 0 {
		return target, err
	}
	whole, ok := target.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not an object", ref)
	}
	for name, member := range object {
		whole[name] = member
	}
	return whole, nil
}
