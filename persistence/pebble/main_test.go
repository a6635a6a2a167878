package pebble

import (
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

var quiet = slog.New(slog.DiscardHandler)

// inChild is set in processes that tests start from their own program.
const inChild = "MATRIXON_TEST_CHILD"

// child is this program, running one test, which finds arg in the environment.
func child(test, arg string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), inChild+"="+arg)
	return cmd
}

func TestMain(m *testing.M) {
	if os.Getenv(inChild) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
