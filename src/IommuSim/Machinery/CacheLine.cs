using Platform;

namespace IommuSim.Machinery;

/// <summary>
/// What cached translations are tagged with besides their address: <see cref="Bits"/> bits in which each interface keeps whatever it
/// tells address spaces apart by. Lines whose tags differ in the lowest bits fall into different sets.
/// </summary>
internal readonly record struct CacheTag(ulong Value)
{
    public const int Bits = 48;

    /// <summary>The bits that a tag may have.</summary>
    public const ulong Mask = (1UL << Bits) - 1;
}

/// <summary>One line of a <see cref="TranslationCache{TSizes}"/>: a translation, a pointer to a table, or a fault.</summary>
internal struct CacheLine
{
    private const int LevelShift = CacheTag.Bits;
    private const ulong ValidBit = 1UL << 63;

    public ulong Page;
    public ulong Target;

    // The tag, the level, and whether it is there at all: one comparison tells whether a line of a page is the one that is looked for.
    public ulong Key;

    /// <summary>False, too, where there are no stages.</summary>
    public bool IsFirstStage;

    public Rights Rights;
    public bool Dirty;

    /// <summary>0: none; what others mean is the interface's own.</summary>
    public byte Fault;

    /// <summary>When it was last used, or in FIFO filled, by the time of its set.</summary>
    public uint LastUse;

    /// <summary>A line for what an entry of a level translates: the page of that number among those of the level.</summary>
    public CacheLine(CacheTag tag, ulong page, int level, ulong target, Rights rights, bool isFirstStage = false)
    {
        Page = page;
        Target = target;
        Key = KeyOf(tag, level);
        IsFirstStage = isFirstStage;
        Rights = rights;
    }

    public readonly bool Valid => (Key & ValidBit) != 0;

    public readonly int Level => (int)(Key >> LevelShift & 0xF);

    public readonly CacheTag Tag => new(Key & CacheTag.Mask);

    public static ulong KeyOf(CacheTag tag, int level) => tag.Value | unchecked((ulong)level) << LevelShift | ValidBit;

    public readonly IovaRange Range<TSizes>()
        where TSizes : struct, IPageSizes
    {
        int shift = TSizes.Shift(Level);
        ulong first = Page << shift;
        return new(new(first), new(first | ((1UL << shift) - 1)));
    }
}

/// <summary>Which lines an invalidation drops: those that are all that is named here.</summary>
/// <param name="Tag">What the tag is, as far as <paramref name="TagMask"/> says.</param>
/// <param name="TagMask">The bits of the tag that count; 0: any tag.</param>
internal readonly record struct LineFilter(CacheTag Tag, ulong TagMask)
{
    // The last address is kept as its complement, so that the default is everything.
    private readonly ulong _first;
    private readonly ulong _beyondLast;

    private LineFilter(in LineFilter filter, StageChoice stage, ulong first, ulong beyondLast)
        : this(filter.Tag, filter.TagMask)
    {
        Stage = stage;
        _first = first;
        _beyondLast = beyondLast;
    }

    private enum StageChoice : byte
    {
        Either,
        First,
        Second,
    }

    public static LineFilter All => default;

    /// <summary>Whether it is about the first stage alone.</summary>
    public bool IsOfFirstStage => Stage == StageChoice.First;

    /// <summary>Lines that share a byte with this.</summary>
    public IovaRange Range => new(new(_first), new(~_beyondLast));

    private StageChoice Stage { get; }

    public static LineFilter Of(CacheTag tag) => new(tag, CacheTag.Mask);

    /// <summary>Of these, those that share a byte with a range.</summary>
    public LineFilter In(IovaRange range) => new(this, Stage, range.First.Value, ~range.Last.Value);

    /// <summary>Of these, those of one stage.</summary>
    public LineFilter OfStage(bool isFirst) => new(this, isFirst ? StageChoice.First : StageChoice.Second, _first, _beyondLast);

    public bool Matches<TSizes>(in CacheLine line)
        where TSizes : struct, IPageSizes =>
        line.Valid
        && ((line.Key ^ Tag.Value) & TagMask) == 0
        && (Stage == StageChoice.Either || line.IsFirstStage == (Stage == StageChoice.First))
        && line.Range<TSizes>().Overlaps(Range);
}
