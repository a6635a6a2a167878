package config

import (
	_ "embed" // the commented file
	"errors"
	"io/fs"
	"os"
	"strings"
)

// Commented is the configuration file with all defaults and what each key means.
//
//go:embed matrixon.yaml
var Commented string

// Sources are where a configuration comes from.
type Sources struct {
	File    string   // path of a YAML file; empty for none
	Environ []string // NAME=value, as os.Environ gives them
	Set     []string // key=value, the key with dots
}

// DefaultFile is read from the working directory when it is there and no other file is named.
const DefaultFile = "matrixon.yaml"

// Find returns the file to read: the one named, else the one of MATRIXON_CONFIG, else DefaultFile if it is there,
// else none.
func Find(named string, environ []string) (string, error) {
	if named != "" {
		return named, nil
	}
	for _, variable := range environ {
		if path, ok := strings.CutPrefix(variable, fileVariable+"="); ok && path != "" {
			return path, nil
		}
	}
	switch _, err := os.Stat(DefaultFile); {
	case err == nil:
		return DefaultFile, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	default:
		return "", err
	}
}

// Default is the configuration without a file: one node named localhost that listens on 127.0.0.1:8008 and keeps its
// data in ./data.
func Default() *Config {
	b := newBinder(&Config{})
	b.file(DefaultFile, []byte(Commented))
	if len(b.problems) > 0 {
		panic(b.problems) // the embedded file is part of the program
	}
	return b.config
}

// Load reads the sources over the defaults and validates the result. The error is of type Problems when it is
// the configuration that is wrong, and holds everything that is.
func Load(s Sources) (*Config, error) {
	b := newBinder(Default())
	if s.File != "" {
		text, err := os.ReadFile(s.File)
		if err != nil {
			return nil, err
		}
		b.file(s.File, text)
	}
	b.environ(s.Environ)
	b.flags(s.Set)
	b.validate()
	if len(b.problems) > 0 {
		return nil, b.problems
	}
	return b.config, nil
}
