package js

import (
	"fmt"
	"testing"

	"github.com/matrixon/matrixon/tests/peers"
)

// peer is a homeserver that another knows.
type peer struct {
	kill, run func()
	log       func() string
}

func peerOf(s *peers.Server) peer { return peer{kill: s.Kill, run: func() { s.Run() }, log: s.Log} }

// pair is two homeservers that know each other.
type pair [2]peer

func (p pair) do(ask string) error {
	var what string
	var place int
	if _, err := fmt.Sscan(ask, &what, &place); err != nil || place < 1 || place > len(p) {
		return fmt.Errorf("two servers cannot %q", ask)
	}
	s := p[place-1]
	switch what {
	case "kill":
		s.kill()
		s.run()
	case "end":
		s.kill()
	case "start":
		s.run()
	default:
		return fmt.Errorf("two servers cannot %q", ask)
	}
	return nil
}

// Log is what both have logged.
func (p pair) Log() string { return p[0].log() + "\n" + p[1].log() }

// TestMatrixJSSDKAcrossServers: people of two servers, with encryption.
func TestMatrixJSSDKAcrossServers(t *testing.T) {
	t.Parallel()
	install(t)
	servers := peers.Start(t, 2, "federation.retry_longest=1s")
	run(t, pair{peerOf(servers[0]), peerOf(servers[1])}, "federated.mjs", servers[0].URL, servers[1].URL, servers[0].Name, servers[1].Name)
}
