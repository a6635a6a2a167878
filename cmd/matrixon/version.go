package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and commit are set by the linker: -X main.version=1.2.3 -X main.commit=abc. A build without them tells
// what Go knows about it.
var version, commit string

// build says what this program was built from.
type build struct {
	Version  string // "devel" when it is no release
	Commit   string // empty when it is not known
	Go       string
	Platform string
}

func buildInfo() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok && b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	if ok && b.Commit == "" {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				b.Commit = setting.Value
			}
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	return b
}

// String is one line for a person.
func (b build) String() string {
	from := ""
	if b.Commit != "" {
		from = "commit " + b.Commit + ", "
	}
	return fmt.Sprintf("matrixon %s (%s%s, %s)", b.Version, from, b.Go, b.Platform)
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(m *Main) error {
	_, err := fmt.Fprintln(m.Stdout, buildInfo())
	return err
}
