package js

import (
	"fmt"
	"testing"

	"github.com/matrixon/matrixon/tests/peers"
)

// pair is two homeservers that know each other.
type pair []*peers.Server

func (p pair) do(ask string) error {
	var what string
	var place int
	if _, err := fmt.Sscan(ask, &what, &place); err != nil || place < 1 || place > len(p) {
		return fmt.Errorf("two servers cannot %q", ask)
	}
	s := p[place-1]
	switch what {
	case "kill":
		s.Kill()
		s.Run()
	case "end":
		s.Kill()
	case "start":
		s.Run()
	default:
		return fmt.Errorf("two servers cannot %q", ask)
	}
	return nil
}

// Log is what both have logged.
func (p pair) Log() string { return p[0].Log() + "\n" + p[1].Log() }

// TestMatrixJSSDKAcrossServers: people of two servers, with encryption.
func TestMatrixJSSDKAcrossServers(t *testing.T) {
	t.Parallel()
	install(t)
	servers := pair(peers.Start(t, 2, "federation.retry_longest=1s"))
	run(t, servers, "federated.mjs", servers[0].URL, servers[1].URL, servers[0].Name, servers[1].Name)
}
