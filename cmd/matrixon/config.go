package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
)

// configFlags say where the configuration comes from. Every command that needs it embeds them.
type configFlags struct {
	File string   `name:"config" short:"c" placeholder:"FILE" help:"Configuration file; matrixon.yaml is read if it is there."`
	Set  []string `sep:"none" placeholder:"KEY=VALUE" help:"Set a key of the configuration, such as cluster.node=a; can be given again."`
}

// load loads the configuration and tells the file it was read from, empty for none.
func (f configFlags) load(m *Main) (*config.Config, string, error) {
	file, err := config.Find(f.File, m.Environ)
	if err != nil {
		return nil, "", err
	}
	c, err := config.Load(config.Sources{File: file, Environ: m.Environ, Set: f.Set})
	return c, file, err
}

type configCommand struct {
	Init  configInit  `cmd:"" help:"Write a configuration file in which every key is explained."`
	Check configCheck `cmd:"" help:"Tell everything that is wrong with the configuration."`
	Show  configShow  `cmd:"" help:"Show the values in force, with secrets masked."`
}

type configInit struct {
	File       string `arg:"" optional:"" default:"matrixon.yaml" help:"Where to write it; - for standard output."`
	ServerName string `placeholder:"NAME" help:"The name of the server, as in @alice:NAME."`
	Force      bool   `help:"Overwrite the file if it is there."`
}

// Run writes the file. It is for its owner only, because secrets are going to stand in it.
func (c configInit) Run(m *Main) error {
	text := config.Commented
	if c.ServerName != "" {
		if _, err := config.Load(config.Sources{Set: []string{"server_name=" + c.ServerName}}); err != nil {
			return err
		}
		text = strings.Replace(text, "\nserver_name: localhost\n", "\nserver_name: "+c.ServerName+"\n", 1)
	}
	if c.File == "-" {
		_, err := fmt.Fprint(m.Stdout, text)
		return err
	}
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(c.File, how, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; --force overwrites it", c.File)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.Stdout, "wrote %s\n", c.File)
	return err
}

type configCheck struct {
	configFlags
}

// Run prints every problem, those of the files that the configuration names included.
func (c configCheck) Run(m *Main) error {
	loaded, file, err := c.load(m)
	if err != nil {
		return err
	}
	if err := loaded.CheckFiles(); err != nil {
		return err
	}
	if file == "" {
		file = "the defaults"
	}
	_, err = fmt.Fprintf(m.Stdout, "%s: no problems\n", file)
	return err
}

type configShow struct {
	configFlags
}

// Run prints the effective values as YAML.
func (c configShow) Run(m *Main) error {
	loaded, _, err := c.load(m)
	if err != nil {
		return err
	}
	text, err := loaded.YAML()
	if err != nil {
		return err
	}
	_, err = m.Stdout.Write(text)
	return err
}
