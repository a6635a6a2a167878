// Command matrixon is a Matrix homeserver and the tool of those who operate it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
)

// commands are what can be typed after matrixon. The Run method of each is called with the Main.
type commands struct {
	Serve        serveCommand        `cmd:"" help:"Run the server."`
	Actors       actorsCommand       `cmd:"" help:"Look into the running server's actors."`
	Appservices  appservicesCommand  `cmd:"" help:"Look at the application services of the running server."`
	Cluster      clusterCommand      `cmd:"" help:"Look at the running server's nodes."`
	Config       configCommand       `cmd:"" help:"Write, check and show the configuration."`
	DB           dbCommand           `cmd:"" name:"db" help:"Look at the database, migrate it, back data up, and copy a single node's data into one."`
	Destinations destinationsCommand `cmd:"" help:"Look at what other servers are sent."`
	Keys         keysCommand         `cmd:"" help:"List and replace the keys with which the server signs."`
	Media        mediaCommand        `cmd:"" help:"Look after the files that users have uploaded."`
	Reports      reportsCommand      `cmd:"" help:"Look at what users have reported."`
	Rooms        roomsCommand        `cmd:"" help:"Look at rooms."`
	Tokens       tokensCommand       `cmd:"" help:"Make and end the registration tokens with which people can make accounts."`
	User         userCommand         `cmd:"" help:"Administer accounts, whether the server runs or not."`
	Version      versionCommand      `cmd:"" help:"Tell which version this is."`
}

// Main is one call of the program, apart from the process: tests make one and run what users run.
type Main struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string // NAME=value

	commands commands
	chosen   *kong.Context
	done     bool // a flag such as --help has answered already
}

// ParseFlags reads the command line, without the name of the program. Its error tells how it is to be written.
func (m *Main) ParseFlags(args []string) error {
	parser, err := kong.New(&m.commands,
		kong.Name("matrixon"),
		kong.Description("A Matrix homeserver."),
		kong.Writers(m.Stdout, m.Stderr),
		kong.Exit(func(int) { m.done = true }),
	)
	if err != nil {
		return err
	}
	m.chosen, err = parser.Parse(args)
	if m.done { // whatever was wrong besides: the help has been printed
		return nil
	}
	return err
}

// Run does what ParseFlags read until it is done or ctx ends.
func (m *Main) Run(ctx context.Context) error {
	if m.done {
		return nil
	}
	m.chosen.BindTo(ctx, (*context.Context)(nil))
	return m.chosen.Run(m)
}

// The exit codes of the program.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &Main{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ()}, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, m *Main, args []string) int {
	if err := m.ParseFlags(args); err != nil {
		fmt.Fprintf(m.Stderr, "matrixon: %v\nSee matrixon --help.\n", err)
		return exitUsage
	}
	err := m.Run(ctx)
	var problems config.Problems
	switch {
	case err == nil:
		return 0
	case errors.As(err, &problems): // a list, one line each
		fmt.Fprintln(m.Stderr, err)
	default:
		fmt.Fprintf(m.Stderr, "matrixon: %v\n", err)
	}
	return exitFailed
}
