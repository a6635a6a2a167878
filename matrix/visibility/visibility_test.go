package visibility

import "testing"

func TestAllowed(t *testing.T) {
	t.Parallel()
	// For each visibility, the memberships at the event that suffice; with "later" for those who joined afterwards.
	allowed := map[string]map[string]bool{
		WorldReadable: {"join": true, "invite": true, "leave": true, "ban": true, "knock": true, "later": true},
		Shared:        {"join": true, "later": true},
		Invited:       {"join": true, "invite": true},
		Joined:        {"join": true},
	}
	for visibility, who := range allowed {
		for _, membership := range []string{"join", "invite", "leave", "ban", "knock"} {
			for _, later := range []bool{false, true} {
				want := who[membership] || later && who["later"]
				if got := Allowed(Query{visibility, membership, later}); got != want {
					t.Errorf("%s, %s at the event, joined later %v: %v, want %v", visibility, membership, later, got, want)
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": Shared, "x": Shared, "shared": Shared, "joined": Joined, "invited": Invited, "world_readable": WorldReadable} {
		if got := Parse(in); got != want {
			t.Errorf("%q means %s, want %s", in, got, want)
		}
	}
}
