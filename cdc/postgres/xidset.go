package postgres

// xidSet is a set of transaction ids. Those of one transaction's
// subtransactions lie close together: a hundred thousand take 16 KiB or a
// little more, not the megabytes of a map.
type xidSet struct {
	pages map[uint32]*[64]uint64 // by the id's upper 20 bits
	last  uint32                 // the page that was last used
	page  *[64]uint64
}

func (s *xidSet) add(xid uint32) {
	if s.pages == nil {
		s.pages = map[uint32]*[64]uint64{}
	}
	p := s.pages[xid>>12]
	if p == nil {
		p = new([64]uint64)
		s.pages[xid>>12] = p
	}
	s.last, s.page = xid>>12, p
	p[xid>>6&63] |= 1 << (xid & 63)
}

func (s *xidSet) has(xid uint32) bool {
	if s.pages == nil {
		return false
	}
	if s.page == nil || s.last != xid>>12 {
		p := s.pages[xid>>12]
		if p == nil {
			return false
		}
		s.last, s.page = xid>>12, p
	}
	return s.page[xid>>6&63]&(1<<(xid&63)) != 0
}
