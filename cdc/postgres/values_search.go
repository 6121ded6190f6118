package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
)

// The functions of this file print the types of text search.

var errSearch = errors.New("the binary form of a text search type is damaged")

// textTSVector prints 'lexeme':1A,2 'other'.
func textTSVector(dst, v []byte) ([]byte, error) {
	if len(v) < 4 {
		return dst, lengthError(len(v), 4)
	}
	n, rest := int(binary.BigEndian.Uint32(v)), v[4:]
	if n < 0 || n > len(rest)/3 { // a terminator and a number of positions
		return dst, errSearch
	}
	for i := range n {
		end := bytes.IndexByte(rest, 0)
		if end < 0 || len(rest) < end+3 {
			return dst, errSearch
		}
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = appendLexeme(dst, rest[:end])
		places := int(binary.BigEndian.Uint16(rest[end+1:]))
		rest = rest[end+3:]
		if len(rest) < 2*places {
			return dst, errSearch
		}
		for p := range places {
			if p == 0 {
				dst = append(dst, ':')
			} else {
				dst = append(dst, ',')
			}
			at := binary.BigEndian.Uint16(rest[2*p:])
			dst = strconv.AppendUint(dst, uint64(at&0x3fff), 10)
			if weight := at >> 14; weight > 0 {
				dst = append(dst, byte('D'-weight))
			}
		}
		rest = rest[2*places:]
	}
	if len(rest) > 0 {
		return dst, errSearch
	}
	return dst, nil
}

// appendLexeme appends v in single quotes; quotes and backslashes are doubled.
func appendLexeme(dst, v []byte) []byte {
	dst = append(dst, '\'')
	for _, ch := range v {
		if ch == '\'' || ch == '\\' {
			dst = append(dst, ch)
		}
		dst = append(dst, ch)
	}
	return append(dst, '\'')
}

// The items of a tsquery.
const (
	queryValue    = 1
	queryOperator = 2

	queryNot    = 1
	queryAnd    = 2
	queryOr     = 3
	queryPhrase = 4
)

// queryPriority says how strongly an operator binds.
var queryPriority = [...]int{queryNot: 4, queryAnd: 2, queryOr: 1, queryPhrase: 3}

// queryNode is an operand or an operator of a tsquery.
type queryNode struct {
	lexeme []byte // of an operand
	weight byte
	prefix bool

	op          byte // 0: an operand
	distance    uint16
	left, right int // the operator's; a negation has only right
	depth       int // of the tree below it
}

// maxQueryDepth is far beyond what PostgreSQL's own stack allows.
const maxQueryDepth = 100_000

// textTSQuery prints a query, which is sent in prefix notation with the right
// operand first, in infix notation.
func textTSQuery(dst, v []byte) ([]byte, error) {
	if len(v) < 4 {
		return dst, lengthError(len(v), 4)
	}
	n, rest := int(binary.BigEndian.Uint32(v)), v[4:]
	if n < 0 || n > len(rest)/2 {
		return dst, errSearch
	}
	if n == 0 && len(rest) == 0 {
		return dst, nil
	}
	nodes := make([]queryNode, n)
	for i := range nodes {
		var err error
		if nodes[i], rest, err = parseQueryNode(rest); err != nil {
			return dst, err
		}
	}
	// From behind: an operator's operands are the trees that follow it.
	var trees []int
	for i := n - 1; i >= 0; i-- {
		node := &nodes[i]
		take := map[byte]int{0: 0, queryNot: 1}
		need, ok := take[node.op]
		if !ok {
			need = 2
		}
		if len(trees) < need {
			return dst, errSearch
		}
		if need > 0 {
			node.right = trees[len(trees)-1]
			node.depth = nodes[node.right].depth + 1
		}
		if need > 1 {
			node.left = trees[len(trees)-2]
			node.depth = max(node.depth, nodes[node.left].depth+1)
		}
		if node.depth > maxQueryDepth {
			return dst, errSearch
		}
		trees = append(trees[:len(trees)-need], i)
	}
	if len(trees) != 1 || len(rest) > 0 {
		return dst, errSearch
	}
	return printQuery(dst, nodes, 0, -1, false), nil
}

func parseQueryNode(p []byte) (n queryNode, rest []byte, err error) {
	if len(p) < 2 {
		return n, nil, errSearch
	}
	switch p[0] {
	case queryValue:
		if len(p) < 4 {
			return n, nil, errSearch
		}
		n.weight, n.prefix = p[1], p[2] != 0
		end := bytes.IndexByte(p[3:], 0)
		if end < 0 {
			return n, nil, errSearch
		}
		n.lexeme = p[3 : 3+end]
		return n, p[3+end+1:], nil
	case queryOperator:
		n.op, rest = p[1], p[2:]
		if n.op < queryNot || n.op > queryPhrase {
			return n, nil, errSearch
		}
		if n.op == queryPhrase {
			if len(rest) < 2 {
				return n, nil, errSearch
			}
			n.distance, rest = binary.BigEndian.Uint16(rest), rest[2:]
		}
		return n, rest, nil
	}
	return n, nil, errSearch
}

// printQuery prints the tree at i, in parentheses where its operator binds
// more weakly than the one above, or is a phrase to the right of a phrase.
func printQuery(dst []byte, nodes []queryNode, i, above int, rightOfPhrase bool) []byte {
	n := &nodes[i]
	if n.op == 0 {
		return printOperand(dst, n)
	}
	priority := queryPriority[n.op]
	enclosed := priority < above || n.op == queryPhrase && rightOfPhrase
	if enclosed {
		dst = append(dst, "( "...)
	}
	if n.op == queryNot {
		dst = printQuery(append(dst, '!'), nodes, n.right, priority, false)
	} else {
		dst = printQuery(dst, nodes, n.left, priority, false)
		switch {
		case n.op == queryAnd:
			dst = append(dst, " & "...)
		case n.op == queryOr:
			dst = append(dst, " | "...)
		case n.distance == 1:
			dst = append(dst, " <-> "...)
		default:
			dst = strconv.AppendUint(append(dst, " <"...), uint64(n.distance), 10)
			dst = append(dst, "> "...)
		}
		dst = printQuery(dst, nodes, n.right, priority, n.op == queryPhrase)
	}
	if enclosed {
		dst = append(dst, " )"...)
	}
	return dst
}

func printOperand(dst []byte, n *queryNode) []byte {
	dst = appendLexeme(dst, n.lexeme)
	if n.weight == 0 && !n.prefix {
		return dst
	}
	dst = append(dst, ':')
	if n.prefix {
		dst = append(dst, '*')
	}
	for i := range 4 {
		if n.weight&(8>>i) != 0 {
			dst = append(dst, byte('A'+i))
		}
	}
	return dst
}
