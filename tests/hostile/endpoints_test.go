package hostile

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/media"
)

// spellings are endpoints that are others under an older name, apart from those that stand with them.
var spellings = []*regexp.Regexp{
	regexp.MustCompile(`^/_matrix/client/unstable/room_keys/`),
	regexp.MustCompile(`^/_matrix/client/unstable/uk\.half-shot\.msc2666/user/mutual_rooms$`),
}

var variable = regexp.MustCompile(`\{[^}]*\}`)

// TestEveryEndpointIsAttacked: an endpoint that the specification's API does not have is not among the requests, and so would be
// neither attacked nor asked for by those who may not.
func TestEveryEndpointIsAttacked(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, q := range requests(t) {
		known[q.Method+" "+shape(q.Path)] = true
	}
	deps := client.Deps{}
	meetings, end := client.Rendezvous(deps, client.RendezvousOptions{})
	defer end()
	endpoints := slices.Concat(client.Accounts(deps, client.AccountOptions{}), client.Rooms(deps, client.RoomOptions{}),
		client.Encryption(deps, client.EncryptionOptions{}), client.Sync(deps, nil, true), client.SlidingSync(nil), client.OldSync(deps, client.OldSyncOptions{}),
		client.Calls(deps, client.TURN{}), media.New(media.Options{}).Endpoints(), meetings)
	for _, e := range endpoints {
		if slices.ContainsFunc(spellings, func(s *regexp.Regexp) bool { return s.MatchString(e.Path) }) {
			continue
		}
		for _, method := range e.Methods {
			if !slices.ContainsFunc(templates(e), func(path string) bool { return known[method+" "+shape(path)] }) {
				t.Errorf("%s %s is in no request: testdata/beyond.json is for endpoints that the specification does not have", method, e.Path)
			}
		}
	}
}

// shape is a path without the names of its variables, and without the slash that some clients leave out.
func shape(path string) string {
	return strings.TrimSuffix(variable.ReplaceAllString(path, "{}"), "/")
}

func templates(e api.Endpoint) []string { return append([]string{e.Path}, e.Also...) }
