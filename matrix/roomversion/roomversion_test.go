package roomversion

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row is a room version as the prose of rooms/v1 to v12 describes it: in which words, the comments say.
type row struct {
	id         string
	eventID    EventIDFormat
	resolution StateResolution
	flags      []string
}

// Each version has the flags that its page introduces ("added in", "changed in"), and those of the page that it builds on,
// unless the page takes them back.
var rows = []row{
	// v1: event ids with a domain; rule 4 on m.room.aliases, rule 11 on redactions; the first state resolution.
	{"1", EventIDField, StateResolutionV1, []string{"RedactionAuthRule", "AliasesAuthRule"}},
	// v2: "changing only the state resolution algorithm".
	{"2", EventIDField, StateResolutionV2, []string{"RedactionAuthRule", "AliasesAuthRule"}},
	// v3: event ids are reference hashes; "in room versions 1 and 2, redactions were explicitly part of the authorisation rules".
	{"3", EventIDBase64, StateResolutionV2, []string{"AliasesAuthRule"}},
	// v4: "using URL-safe base64 to generate the event ID".
	{"4", EventIDURLBase64, StateResolutionV2, []string{"AliasesAuthRule"}},
	// v5: "enforcing signing key validity periods for events".
	{"5", EventIDURLBase64, StateResolutionV2, []string{"AliasesAuthRule", "KeyValidity"}},
	// v6: strict canonical JSON; rule 4 on aliases is removed and redaction no longer keeps them; notifications in rule 9.
	{"6", EventIDURLBase64, StateResolutionV2, []string{"KeyValidity", "StrictCanonicalJSON", "NotificationLevels"}},
	// v7: knocking.
	{"7", EventIDURLBase64, StateResolutionV2, []string{"KeyValidity", "StrictCanonicalJSON", "NotificationLevels", "Knock"}},
	// v8: the join rule restricted, and allow kept by redaction.
	{"8", EventIDURLBase64, StateResolutionV2, []string{"KeyValidity", "StrictCanonicalJSON", "NotificationLevels", "Knock", "Restricted"}},
	// v9: join_authorised_via_users_server kept by redaction.
	{"9", EventIDURLBase64, StateResolutionV2, []string{"KeyValidity", "StrictCanonicalJSON", "NotificationLevels", "Knock", "Restricted", "KeepsAuthorisedVia"}},
	// v10: the join rule knock_restricted, and power levels that are integers.
	{"10", EventIDURLBase64, StateResolutionV2, []string{"KeyValidity", "StrictCanonicalJSON", "NotificationLevels", "Knock", "Restricted", "KeepsAuthorisedVia",
		"KnockRestricted", "IntegerPowerLevels"}},
	// v11: the updated redaction rules, no creator in the create event, redacts in the content.
	{"11", EventIDURLBase64, StateResolutionV2, []string{"KeyValidity", "StrictCanonicalJSON", "NotificationLevels", "Knock", "Restricted", "KeepsAuthorisedVia",
		"KnockRestricted", "IntegerPowerLevels", "CreatorIsSender", "RedactsInContent", "UpdatedRedaction"}},
	// v12: room ids are hashes of the create event, creators have infinite power, state resolution 2.1.
	{"12", EventIDURLBase64, StateResolutionV2_1, []string{"KeyValidity", "StrictCanonicalJSON", "NotificationLevels", "Knock", "Restricted", "KeepsAuthorisedVia",
		"KnockRestricted", "IntegerPowerLevels", "CreatorIsSender", "RedactsInContent", "UpdatedRedaction", "RoomIDFromCreate", "PrivilegedCreators"}},
}

// flagsOf names the flags of a version, in the order of rows.
func flagsOf(v *Version) []string {
	var names []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"RedactionAuthRule", v.RedactionAuthRule}, {"AliasesAuthRule", v.AliasesAuthRule}, {"KeyValidity", v.KeyValidity},
		{"StrictCanonicalJSON", v.StrictCanonicalJSON}, {"NotificationLevels", v.NotificationLevels}, {"Knock", v.Knock},
		{"Restricted", v.Restricted}, {"KeepsAuthorisedVia", v.KeepsAuthorisedVia}, {"KnockRestricted", v.KnockRestricted},
		{"IntegerPowerLevels", v.IntegerPowerLevels}, {"CreatorIsSender", v.CreatorIsSender}, {"RedactsInContent", v.RedactsInContent},
		{"UpdatedRedaction", v.UpdatedRedaction}, {"RoomIDFromCreate", v.RoomIDFromCreate}, {"PrivilegedCreators", v.PrivilegedCreators},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return names
}

func TestTableIsTheSpecifications(t *testing.T) {
	t.Parallel()
	var got []row
	for _, v := range All() {
		if !v.Stable {
			t.Errorf("version %s is not stable", v.ID)
		}
		got = append(got, row{v.ID, v.EventIDFormat, v.StateResolution, flagsOf(v)})
	}
	if d := cmp.Diff(rows, got, cmp.AllowUnexported(row{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	for _, v := range All() {
		if got, ok := Get(v.ID); !ok || got != v {
			t.Errorf("%s: %v, %v", v.ID, got, ok)
		}
	}
	for _, id := range []string{"", "0", "01", "1.0", " 1", "13", "org.matrix.msc2176", "12\n", "１"} {
		if v, ok := Get(id); ok {
			t.Errorf("%q is found as %s", id, v.ID)
		}
	}
}

// HARD_PLACES.md 15: the default room version.
func TestDefaultIsStable(t *testing.T) {
	t.Parallel()
	v, ok := Get(Default)
	if !ok || !v.Stable || Default != "12" {
		t.Errorf("the default is %s: %v, %v", Default, v, ok)
	}
}

// What All gives is the caller's own list.
func TestAllIsACopy(t *testing.T) {
	t.Parallel()
	all := All()
	slices.Reverse(all)
	if All()[0].ID != "1" {
		t.Error("changing the list changes the table")
	}
}
