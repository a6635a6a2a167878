package federation

import (
	"os/exec"
	"regexp"
	"testing"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/peers"
)

// operate runs a command of matrixon at the server.
func operate(t *testing.T, s *peers.Server, command ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), binary.Program(t), append(command, "--set", "data_dir="+s.DataDir())...).CombinedOutput() //nolint:gosec // the test's own program
	if err != nil {
		t.Fatalf("matrixon %v: %v\n%s", command, err, said)
	}
	return string(said)
}

// destinations runs matrixon destinations at the server.
func destinations(t *testing.T, s *peers.Server, args ...string) string {
	t.Helper()
	return operate(t, s, append([]string{"destinations"}, args...)...)
}

// Operators see what waits for another server, and decide when it is sent.
func TestOperatingDestinations(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 2)
	t.Cleanup(func() { explain(t, servers) })
	alice, bob := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob")
	roomID := alice.create(J{"preset": "public_chat"})
	bob.joinVia(roomID, servers[0].Name)
	alice.seesMember(roomID, bob.UserID, "join")
	bob.sees(roomID, alice.say(roomID, "hello"))

	run := func(args ...string) string {
		t.Helper()
		return destinations(t, servers[0], args...)
	}
	shows := func(said string, expressions ...string) {
		t.Helper()
		for _, expression := range expressions {
			if !regexp.MustCompile("(?m)" + expression).MatchString(said) {
				t.Fatalf("%s is not shown:\n%s", expression, said)
			}
		}
	}
	name := servers[1].Name
	shows(run("list"), `^`+regexp.QuoteMeta(name)+` +closed +0 `)
	shows(run("pause", name), `^circuit +paused$`)
	waits := alice.say(roomID, "this waits")
	alice.eventually("the event waits", func() bool { return regexp.MustCompile(`(?m)^events waiting +1$`).MatchString(run("inspect", name)) })
	servers[1].Kill()
	shows(run("retry", name), `^circuit +closed$`)
	alice.eventually("the failure", func() bool {
		return regexp.MustCompile(`(?m)^circuit +(open|half-open)$`).MatchString(run("inspect", name))
	})
	shows(run("list"), `^`+regexp.QuoteMeta(name)+` +(open|half-open) +[1-9]`)
	shows(run("inspect", name), `^last error +.*refused`, `^  events in it +1$`)
	servers[1].Run()
	shows(run("reset", name), `^failures +0$`)
	bob.sees(roomID, waits)
}
