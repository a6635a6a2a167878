// Package layout holds the tests of how the repository is laid out: which package may know which, what the pure
// protocol must not touch, and how long a file may be.
package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/matrixon/matrixon"
	root   = "../.."
)

// notOurs are folders that are no part of the repository's own text.
var notOurs = []string{".git", "node_modules", "data", "build"}

// walk visits the files of the repository with their path from its top.
func walk(t *testing.T, visit func(file string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		switch {
		case slices.Contains(notOurs, entry.Name()):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.Type().IsRegular():
			visit(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// source is a Go file that is part of the product: no test, and not in a package of tests (storetest, clustertest).
type source struct {
	file, pkg string // pkg is the folder
	ast       *ast.File
	set       *token.FileSet
}

func (s source) at(n ast.Node) string {
	return s.file + ":" + strconv.Itoa(s.set.Position(n.Pos()).Line)
}

func (s source) imports(visit func(spec *ast.ImportSpec, path string)) {
	for _, spec := range s.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser accepted it
		}
		visit(spec, p)
	}
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(file string) {
		pkg := path.Dir(file)
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(pkg, "test") {
			return
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.Join(root, file), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{file, pkg, parsed, set})
	})
	if len(all) == 0 {
		t.Fatal("no sources found")
	}
	return all
}

// within reports whether a package is a folder or lies below it.
func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// layer says what the packages of a folder may import of the project: those of the folder itself, and those below the
// folders in uses. What is in never is forbidden even so; entries there name a package, those with /... all below it too.
type layer struct {
	folder string
	uses   []string
	never  []string
}

// backends store data; contracts, schema and what they share are the rest of persistence.
var backends = []string{"persistence/pebble/...", "persistence/postgres/...", "persistence/memory/...", "persistence/bleve/...",
	"persistence/blobs/folder/...", "persistence/blobs/bucket/...", "persistence/blobs/database/..."}

// behaviours are the inside of actors. What lies beside or below them reads the store, and is for everybody.
var behaviours = []string{"actors/room", "actors/user", "actors/destination", "actors/hub"}

var layers = []layer{
	{folder: "matrix"},
	{folder: "messages"},
	{folder: "persistence", uses: []string{"matrix", "messages"}},
	{folder: "cluster", uses: []string{"messages", "matrix/mxerr"}},
	{folder: "actors", uses: []string{"matrix", "messages", "persistence", "cluster"}, never: backends},
	{folder: "http", uses: []string{"matrix", "messages", "persistence", "cluster", "actors"}, never: slices.Concat(backends, behaviours)},
}

func layerOf(pkg string) (layer, bool) {
	for _, l := range layers {
		if within(pkg, l.folder) {
			return l, true
		}
	}
	return layer{}, false // cmd, deploy and tests wire everything
}

func (l layer) allows(imported string) bool {
	for _, pattern := range l.never {
		folder, below := strings.CutSuffix(pattern, "/...")
		if imported == folder || below && within(imported, folder) {
			return false
		}
	}
	return within(imported, l.folder) || slices.ContainsFunc(l.uses, func(folder string) bool { return within(imported, folder) })
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		l, ok := layerOf(s.pkg)
		if !ok {
			continue
		}
		s.imports(func(spec *ast.ImportSpec, p string) {
			imported, ours := strings.CutPrefix(p, module+"/")
			if ours && !l.allows(imported) {
				t.Errorf("%s: %s must not import %s", s.at(spec), s.pkg, imported)
			}
		})
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from, to string
		allowed  bool
	}{
		{"matrix/event", "matrix/id", true},
		{"matrix/event", "messages", false},
		{"messages", "matrix/id", false},
		{"persistence/schema", "matrix/event", true},
		{"persistence/pebble", "persistence", true},
		{"persistence", "cluster", false},
		{"cluster", "matrix/mxerr", true},
		{"cluster", "matrix/event", false},
		{"actors/room", "persistence/schema", true},
		{"actors/room", "persistence/pebble", false},
		{"actors/room", "http/api", false},
		{"http/client", "actors/reader", true},
		{"http/client", "actors/user/keys", true},
		{"http/client", "actors/user", false},
		{"http/client", "persistence/pebble/internal", false},
		{"http/client", "cmd/matrixon/config", false},
	}
	for _, test := range tests {
		l, ok := layerOf(test.from)
		if !ok {
			t.Fatalf("%s is in no layer", test.from)
		}
		if got := l.allows(test.to); got != test.allowed {
			t.Errorf("%s imports %s: allowed is %v", test.from, test.to, got)
		}
	}
}

// impure are packages of the standard library that bring in a clock, randomness, the outside, or other goroutines.
var impure = []string{
	"time", "math/rand", "crypto/rand", "os", "io/fs", "io/ioutil", "syscall", "net", "log", "sync",
}

// pure are exceptions: what they have depends on its arguments alone.
var pure = []string{"net/netip", "net/url", "net/http"}

func TestProtocolIsPure(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if !within(s.pkg, "matrix") {
			continue
		}
		s.imports(func(spec *ast.ImportSpec, p string) {
			if !slices.Contains(pure, p) && slices.ContainsFunc(impure, func(folder string) bool { return within(p, folder) }) {
				t.Errorf("%s: imports %s", s.at(spec), p)
			}
		})
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: starts a goroutine", s.at(n))
			case *ast.SelectorExpr:
				// Of net/http only the names of statuses and methods are wanted.
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "http" &&
					!strings.HasPrefix(n.Sel.Name, "Status") && !strings.HasPrefix(n.Sel.Name, "Method") {
					t.Errorf("%s: uses http.%s", s.at(n), n.Sel.Name)
				}
			}
			return true
		})
	}
}

const maxLines = 700

func TestFilesCanBeReadInOneSitting(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if ast.IsGenerated(s.ast) {
			continue
		}
		if lines := s.set.File(s.ast.Pos()).LineCount(); lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", s.file, lines, maxLines)
		}
	}
}

// machinePath is a path that exists on somebody's machine only.
var machinePath = regexp.MustCompile(`(?:^|[^a-zA-Z0-9_.~}/-])/(?:work|farm|root|Users)/[a-zA-Z0-9_.-]`)

func TestNoPathsOfOneMachine(t *testing.T) {
	t.Parallel()
	walk(t, func(file string) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		const sniff = 8000
		if slices.Contains(text[:min(len(text), sniff)], 0) { // a binary
			return
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			if machinePath.MatchString(line) {
				t.Errorf("%s:%d: %s", file, number, strings.TrimSpace(line))
			}
		}
	})
}

func TestMachinePath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"cd /" + "work/main":              true,
		`"/` + "root/x":                   true,
		"see /" + "farm/":                 false,
		"https://example.org/" + "work/x": false,
		"net/" + "work/x":                 false,
		"{path}/" + "root/x":              false,
	} {
		if got := machinePath.MatchString(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
