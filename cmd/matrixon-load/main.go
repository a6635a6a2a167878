// Command matrixon-load measures a Matrixon server over HTTP, as clients use it: durable sends into many rooms, delivery
// to members who sync, first syncs, joins, what thousands of syncing connections cost, what events of other servers do, searches, thumbnails
// and large files.
//
// It starts the server itself, on a free port with its data in a temporary folder and without rate limits, so that every
// run begins alike. The figures are those of one machine that runs both; the server's CPU time is the server's alone.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Binary    string        `help:"The server's program." default:"build/matrixon" type:"existingfile"`
	Scenarios []string      `arg:"" optional:"" help:"Which to run: send, fanout, initial-sync, join, connections, federation, search, thumbnails, files, spread; all by default."`
	Duration  time.Duration `help:"How long to send." default:"10s"`
	Warm      time.Duration `help:"In send, how long to send before that, unmeasured." default:"2s"`
	Rate      float64       `help:"In send, how many a second at most, so that what they cost can be compared; 0: as many as there can be. In connections, 0 is 50."`
	Rooms     int           `help:"How many rooms to send to, in connections of ten users each." default:"50"`
	Senders   int           `help:"How many clients send at once." default:"100"`
	Members   int           `help:"How many members sync a room in fanout." default:"20"`
	Idle      int           `help:"How many users sync in connections." default:"1000"`
	Poll      time.Duration `help:"In connections, how long a sync waits." default:"30s"`
	HTTP2     bool          `name:"http2" help:"In connections, have them share HTTP/2 connections as those behind a proxy do, so that they take few open files."`
	Messages  int           `help:"How many messages to search." default:"1000000"`
	Pictures  int           `help:"Of how many pictures to make thumbnails." default:"500"`
	File      int64         `help:"How large a file to upload and download, in MiB." default:"1024"`
	Nodes     int           `help:"Measure a cluster of this many nodes, with Postgres and Consul, which are started too; 0 is one node with Pebble."`
	At        string        `help:"In send, where a client speaks to: any node, the owner of its room, or an other than that." enum:"any,owner,other" default:"any"`
	Procs     int           `help:"How many processors a node may use at once, so that several share this machine as they would have one each; 0: all."`
	Spread    int           `help:"How many rooms spread makes." default:"10000"`
	Profile   string        `help:"Write the server's CPU profile of the send, connections, federation or thumbnails scenario to this file; those of further nodes to FILE.2 and on." type:"path"`
}

// scenario is one measurement.
type scenario struct {
	name string
	run  func(context.Context, *options, *server) error
}

var scenarios = []scenario{{"send", send}, {"fanout", fanout}, {"initial-sync", initialSync}, {"join", join}, {"connections", connections}, {"federation", federationIn},
	{"search", search}, {"thumbnails", thumbnails}, {"files", files}, {"spread", spread}}

// single are the scenarios of one node only.
var single = []string{"connections", "federation", "search", "thumbnails", "files"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("matrixon-load"), kong.Description("Measures a Matrixon server over HTTP."))
	if err := run(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "matrixon-load:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, o *options) error {
	for _, name := range o.Scenarios {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			return fmt.Errorf("there is no scenario %q", name)
		}
	}
	if o.Procs > 0 {
		if err := os.Setenv("GOMAXPROCS", strconv.Itoa(o.Procs)); err != nil { // what is started from here on inherits it
			return err
		}
	}
	for _, s := range scenarios {
		// The spread is that of a cluster; the one of federation is not reachable for others, and memory is that of one process.
		if len(o.Scenarios) > 0 && !slices.Contains(o.Scenarios, s.name) ||
			len(o.Scenarios) == 0 && (s.name == "spread" && o.Nodes < 2 || o.Nodes > 0 && slices.Contains(single, s.name)) {
			continue
		}
		if err := measure(ctx, o, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// measure runs one scenario against a fresh server.
func measure(ctx context.Context, o *options, s scenario) error {
	srv, err := start(ctx, o, s.name == "federation")
	if err != nil {
		return err
	}
	defer srv.stop()
	fmt.Printf("== %s\n", s.name)
	if s.name == scenarios[0].name && o.Nodes == 0 {
		all, own, err := srv.rss()
		if err != nil {
			return err
		}
		report("memory of the empty server", "%.1f MB, %.1f without the program's file", float64(all)/1e6, float64(own)/1e6)
	}
	return s.run(ctx, o, srv)
}
