package cluster

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Member is a node of the cluster as the others see it.
type Member struct {
	Name        string  // stable: a node that comes back has it again
	Incarnation string  // of the process, or of its latest return to the cluster
	Address     string  // host:port at which other nodes reach it
	Version     string  // of the program
	Weight      float64 // its share of the actors, relative to the other members' shares
	Draining    bool    // it gives away what it owns and takes nothing new
}

// Override says that an actor lives on a member whatever the hash says.
type Override struct {
	Member string
	Pinned bool // an operator wants it there: it is not moved to even out the load
}

// View is the cluster as one node sees it at one moment. It is not changed once it is made.
//
// An actor lives where an override says, else on the member with the highest score for it (weighted rendezvous
// hashing): so a node that comes or goes moves only its own share, and all nodes that see the same members agree.
type View struct {
	members   []Member // by name
	seeds     []uint64 // of the members' names
	overrides map[Identity]Override
}

// NewView makes a view. Overrides name the members that actors were moved or pinned to; one whose member is absent or
// draining counts for nothing.
func NewView(members []Member, overrides map[Identity]Override) *View {
	v := &View{members: slices.Clone(members), overrides: overrides}
	slices.SortFunc(v.members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range v.members {
		v.seeds = append(v.seeds, xxhash.Sum64String(m.Name))
	}
	return v
}

// Members lists the members by name. The slice must not be changed.
func (v *View) Members() []Member { return v.members }

// Overrides lists what was moved or pinned, and to whom. The map must not be changed.
func (v *View) Overrides() map[Identity]Override { return v.overrides }

// Member finds a member by its name.
func (v *View) Member(name string) (Member, bool) {
	i, ok := slices.BinarySearchFunc(v.members, name, func(m Member, name string) int { return cmp.Compare(m.Name, name) })
	if !ok {
		return Member{}, false
	}
	return v.members[i], true
}

// Pinned reports whether an operator wants the actor where it is.
func (v *View) Pinned(id Identity) bool { return v.overrides[id].Pinned }

// Owner is the name of the member that an actor lives on, or "" when there is none that could take it.
func (v *View) Owner(id Identity) string {
	if id.Kind == KindNode {
		return id.ID
	}
	if o, ok := v.overrides[id]; ok {
		if m, ok := v.Member(o.Member); ok && !m.Draining {
			return o.Member
		}
	}
	return v.rendezvous(id)
}

func (v *View) rendezvous(id Identity) string {
	key := xxhash.Sum64String(id.ID) ^ mix(xxhash.Sum64String(id.Kind))
	best, owner := math.Inf(-1), ""
	for i, m := range v.members {
		if m.Draining || m.Weight <= 0 {
			continue
		}
		if score := m.Weight / -math.Log(unit(mix(key^v.seeds[i]))); score > best {
			best, owner = score, m.Name
		}
	}
	return owner
}

// unit maps a hash evenly to the open interval from 0 to 1.
func unit(h uint64) float64 { return (float64(h>>11) + 0.5) / (1 << 53) }

// mix spreads the bits of h evenly (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Equal reports whether two views say the same.
func (v *View) Equal(other *View) bool {
	return slices.Equal(v.members, other.members) && maps.Equal(v.overrides, other.overrides)
}
