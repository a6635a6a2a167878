package event

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/roomversion"
)

// keptFields are the top-level members that redaction keeps up to room version 10, and from 11 on.
var (
	keptFields = []string{"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
		"prev_events", "prev_state", "auth_events", "origin", "origin_server_ts", "membership"}
	keptFieldsUpdated = []string{"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
		"prev_events", "auth_events", "origin_server_ts"}
	keptLevels = []string{"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)

// redact prunes the event to what the protocol needs (rooms, "Redactions").
func (fs fields) redact(v *roomversion.Version, typ string) fields {
	kept := keptFields
	if v.UpdatedRedaction {
		kept = keptFieldsUpdated
	}
	out := make(fields, 0, len(fs))
	for _, f := range fs {
		if !slices.Contains(kept, f.name) {
			continue
		}
		if f.name == "content" {
			f.raw = redactContent(v, typ, f.raw)
		}
		out = append(out, f)
	}
	return out
}

func redactContent(v *roomversion.Version, typ string, content []byte) []byte {
	if typ == "m.room.create" && v.UpdatedRedaction {
		return content
	}
	names := keptContent(v, typ)
	if len(names) == 0 {
		return []byte("{}")
	}
	kept := fields{}
	for _, f := range parse(content) {
		switch {
		case slices.Contains(names, f.name):
			kept = append(kept, f)
		case typ == "m.room.member" && f.name == "third_party_invite" && v.UpdatedRedaction:
			if signed := gjson.GetBytes(f.raw, "signed"); signed.Exists() {
				kept = append(kept, field{f.name, fields{{"signed", []byte(signed.Raw)}}.bytes(nil)})
			}
		}
	}
	return kept.bytes(nil)
}

// keptContent names the members of the content that redaction keeps for events of this type.
func keptContent(v *roomversion.Version, typ string) []string {
	switch typ {
	case "m.room.member":
		if v.KeepsAuthorisedVia {
			return []string{"membership", "join_authorised_via_users_server"}
		}
		return []string{"membership"}
	case "m.room.create":
		return []string{"creator"}
	case "m.room.join_rules":
		if v.Restricted {
			return []string{"join_rule", "allow"}
		}
		return []string{"join_rule"}
	case "m.room.power_levels":
		if v.UpdatedRedaction {
			return append([]string{"invite"}, keptLevels...)
		}
		return keptLevels
	case "m.room.aliases":
		if v.AliasesAuthRule {
			return []string{"aliases"}
		}
	case "m.room.history_visibility":
		return []string{"history_visibility"}
	case "m.room.redaction":
		if v.UpdatedRedaction {
			return []string{"redacts"}
		}
	}
	return nil
}
