namespace Vcmm.Spec;

/// <summary>Where an address leads and what may be done there.</summary>
/// <param name="Target">The address that it is translated to.</param>
/// <param name="Read">Whether it may be read.</param>
/// <param name="Write">Whether it may be written.</param>
/// <param name="Execute">Whether instructions may be fetched from it.</param>
/// <param name="SupervisorOnly">Whether all of that is for requests with supervisor privilege alone.</param>
/// <param name="Cache">How accesses use caches.</param>
public readonly record struct Translation(
    ulong Target, bool Read = true, bool Write = true, bool Execute = false, bool SupervisorOnly = false, CachePolicy Cache = CachePolicy.WriteBackWriteAllocate)
{
    /// <summary>Whether a request without supervisor privilege may do this.</summary>
    /// <param name="access"><see cref="Permissions.Read"/> or <see cref="Permissions.Write"/>.</param>
    public bool Grants(Permissions access) => !SupervisorOnly && access switch { Permissions.Read => Read, Permissions.Write => Write, _ => Execute };

    /// <summary>The translation of the address <paramref name="byteCount"/> further on in the same contiguous mapping.</summary>
    /// <exception cref="OverflowException">The target does not fit in 64 bits.</exception>
    public Translation Advance(ulong byteCount) => this with { Target = checked(Target + byteCount) };

    /// <summary><c>0x5000 rw</c>, and what is not the default.</summary>
    public override string ToString() =>
        $"0x{Target:x} {(Read ? "r" : "-")}{(Write ? "w" : "-")}{(Execute ? "x" : "")}{(SupervisorOnly ? " supervisor" : "")}{(Cache == default ? "" : $" {Cache}")}";
}

/// <summary>A contiguous range of addresses that leads to a contiguous range of targets.</summary>
/// <param name="Range">The addresses.</param>
/// <param name="Translation">The translation of the first of them.</param>
public readonly record struct Mapping(AddressRange Range, Translation Translation)
{
    /// <summary>The translation of <paramref name="address"/>, which lies in the range.</summary>
    public Translation At(ulong address) => Translation.Advance(checked(address - Range.First));
}

/// <summary>
/// An immutable partial function from addresses to translations, kept as disjoint ranges: its size grows with the number of
/// ranges, and an edit takes time logarithmic in it.
/// </summary>
/// <remarks>
/// A treap (a binary tree ordered by address and heap-ordered by a hash of it), so that its two primitives, <c>Split</c> and
/// <c>Join</c>, are all there is: the shape depends on the content alone, never on the history.
/// </remarks>
public sealed class TranslationMap
{
    private readonly Node? _root;

    private TranslationMap(Node? root) => _root = root;

    /// <summary>Nothing is translated.</summary>
    public static TranslationMap Empty { get; } = new(null);

    /// <summary>Whether nothing is translated.</summary>
    public bool IsEmpty => _root is null;

    /// <summary>One mapping and nothing else.</summary>
    public static TranslationMap Of(Mapping mapping) => new(new Node(mapping, null, null));

    /// <summary>The mapping in which <paramref name="address"/> lies.</summary>
    /// <returns>False if the address is not translated.</returns>
    public bool TryFind(ulong address, out Mapping mapping) => TryFindFirst(new(address, address), out mapping);

    /// <summary>The mapping at the lowest translated address of <paramref name="range"/>; it may begin before the range.</summary>
    /// <returns>False if nothing in the range is translated.</returns>
    public bool TryFindFirst(AddressRange range, out Mapping mapping)
    {
        Node? best = null;
        for (Node? node = _root; node is not null;)
        {
            if (node.Mapping.Range.Last < range.First)
            {
                node = node.Right;
                continue;
            }

            best = node;
            node = node.Left;
        }

        mapping = best?.Mapping ?? default;
        return best is not null && best.Mapping.Range.First <= range.Last;
    }

    /// <summary>The lowest address of <paramref name="range"/> that is not translated.</summary>
    /// <returns>False if all of the range is translated.</returns>
    public bool TryFindGap(AddressRange range, out ulong address)
    {
        address = range.First;
        while (TryFind(address, out Mapping mapping))
        {
            if (mapping.Range.Last >= range.Last) return false;
            address = mapping.Range.Last + 1;
        }

        return true;
    }

    /// <summary>The map without <paramref name="range"/>.</summary>
    /// <param name="range">What to take out; it may cut mappings in two.</param>
    /// <param name="removed">What was there.</param>
    public TranslationMap Cut(AddressRange range, out TranslationMap removed)
    {
        Split(_root, range.First, out Node? below, out Node? rest);
        Node? above = null;
        if (range.Last < ulong.MaxValue) Split(rest, range.Last + 1, out rest, out above);
        removed = Wrap(rest);
        return rest is null ? this : Wrap(Join(below, above));
    }

    /// <summary>The map with the mappings of <paramref name="other"/>, which must fit between two neighbours of this one.</summary>
    /// <exception cref="ArgumentException">Something of this map lies between the first and the last address of the other.</exception>
    public TranslationMap Paste(TranslationMap other)
    {
        if (other._root is null) return this;
        if (_root is null) return other;
        AddressRange extent = other.Extent();
        if (TryFindFirst(extent, out Mapping mapping)) throw new ArgumentException($"{mapping.Range} lies in {extent}", nameof(other));
        Split(_root, extent.First, out Node? below, out Node? above);
        return new(Join(Join(below, other._root), above));
    }

    /// <summary>All mappings, in order of address.</summary>
    public IEnumerable<Mapping> Mappings()
    {
        var open = new Stack<Node>();
        for (Node? node = _root; node is not null || open.Count > 0;)
        {
            for (; node is not null; node = node.Left) open.Push(node);
            node = open.Pop();
            yield return node.Mapping;
            node = node.Right;
        }
    }

    private static TranslationMap Wrap(Node? root) => root is null ? Empty : new(root);

    private AddressRange Extent()
    {
        Node first = _root!;
        while (first.Left is not null) first = first.Left;
        Node last = _root!;
        while (last.Right is not null) last = last.Right;
        return new(first.Mapping.Range.First, last.Mapping.Range.Last);
    }

    /// <summary>Parts a tree into what lies below <paramref name="address"/> and what does not.</summary>
    private static void Split(Node? node, ulong address, out Node? below, out Node? notBelow)
    {
        if (node is null)
        {
            below = notBelow = null;
        }
        else if (node.Mapping.Range.Last < address)
        {
            Split(node.Right, address, out Node? right, out notBelow);
            below = node.With(node.Left, right);
        }
        else if (node.Mapping.Range.First >= address)
        {
            Split(node.Left, address, out below, out Node? left);
            notBelow = node.With(left, node.Right);
        }
        else
        {
            AddressRange whole = node.Mapping.Range;
            Mapping low = new(new(whole.First, address - 1), node.Mapping.Translation);
            Mapping high = new(new(address, whole.Last), node.Mapping.At(address));
            below = Join(node.Left, new Node(low, null, null));
            notBelow = Join(new Node(high, null, null), node.Right);
        }
    }

    /// <summary>One tree of two, all addresses of the one lying below those of the other.</summary>
    private static Node? Join(Node? low, Node? high)
    {
        if (low is null) return high;
        if (high is null) return low;
        return low.Priority > high.Priority
            ? low.With(low.Left, Join(low.Right, high))
            : high.With(Join(low, high.Left), high.Right);
    }

    private sealed class Node(Mapping mapping, Node? left, Node? right)
    {
        public Mapping Mapping { get; } = mapping;

        public Node? Left { get; } = left;

        public Node? Right { get; } = right;

        // A bijection of the address, so that no two nodes tie: a multiplication by an odd number, folded, and another.
        public ulong Priority
        {
            get
            {
                ulong mixed = unchecked(Mapping.Range.First * 0x9e3779b97f4a7c15);
                return unchecked((mixed ^ (mixed >> 32)) * 0xd6e8feb86659fd93);
            }
        }

        public Node With(Node? newLeft, Node? newRight) =>
            ReferenceEquals(newLeft, Left) && ReferenceEquals(newRight, Right) ? this : new(Mapping, newLeft, newRight);
    }
}
