package sql

import "sort"

// labelSet is a set of base columns, by their ids in a columnTable. Sets are
// shared and never changed once made; the zero value is empty.
type labelSet struct {
	ids []int32 // sorted
	top bool
}

var topLabels = labelSet{top: true}

func (a labelSet) empty() bool { return len(a.ids) == 0 && !a.top }

// union returns a ∪ b, sharing a or b where it can.
func (r *resolver) union(a, b labelSet) labelSet {
	top := a.top || b.top
	switch {
	case len(b.ids) == 0 || len(a.ids) == len(b.ids) && len(a.ids) > 0 && &a.ids[0] == &b.ids[0]:
		return labelSet{a.ids, top}
	case len(a.ids) == 0:
		return labelSet{b.ids, top}
	case len(b.ids) == 1:
		if i := sort.Search(len(a.ids), func(i int) bool { return a.ids[i] >= b.ids[0] }); i < len(a.ids) && a.ids[i] == b.ids[0] {
			return labelSet{a.ids, top}
		}
	}
	r.spend(len(a.ids) + len(b.ids))
	ids := make([]int32, 0, len(a.ids)+len(b.ids))
	i, j := 0, 0
	for i < len(a.ids) && j < len(b.ids) {
		switch x, y := a.ids[i], b.ids[j]; {
		case x < y:
			ids = append(ids, x)
			i++
		case x > y:
			ids = append(ids, y)
			j++
		default:
			ids = append(ids, x)
			i++
			j++
		}
	}
	ids = append(append(ids, a.ids[i:]...), b.ids[j:]...)
	if len(ids) == len(a.ids) {
		ids = a.ids
	}
	return labelSet{ids, top}
}

// columnTable gives every base column an id.
type columnTable struct {
	ids  map[Column]int32
	list []Column
	keys []string // String of each column, made when first sorted by
}

func (r *resolver) columnID(c Column) int32 {
	if id, ok := r.columns.ids[c]; ok {
		return id
	}
	if len(r.columns.list) >= maxColumns {
		panic(&UnsupportedError{Pos: r.at, Msg: "too many columns"})
	}
	if r.columns.ids == nil {
		r.columns.ids = map[Column]int32{}
	}
	id := int32(len(r.columns.list))
	r.columns.ids[c] = id
	r.columns.list = append(r.columns.list, c)
	return id
}

func (r *resolver) label(c Column) labelSet { return labelSet{ids: []int32{r.columnID(c)}} }

// labels makes the set public.
func (r *resolver) labels(s labelSet) Labels {
	l := Labels{Top: s.top}
	if len(s.ids) == 0 {
		return l
	}
	r.spend(len(s.ids))
	ids := append([]int32(nil), s.ids...)
	sort.Slice(ids, func(i, j int) bool { return r.columnKey(ids[i]) < r.columnKey(ids[j]) })
	l.Columns = make([]Column, len(ids))
	for i, id := range ids {
		l.Columns[i] = r.columns.list[id]
	}
	return l
}

func (r *resolver) columnKey(id int32) string {
	for len(r.columns.keys) < len(r.columns.list) {
		r.columns.keys = append(r.columns.keys, "")
	}
	if r.columns.keys[id] == "" {
		r.columns.keys[id] = r.columns.list[id].String()
	}
	return r.columns.keys[id]
}
