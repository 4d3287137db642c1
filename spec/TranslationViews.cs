using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>An address space that devices share: opaque to the model.</summary>
/// <param name="Value">Any number.</param>
public readonly record struct DomainKey(ulong Value) : IComparable<DomainKey>
{
    /// <inheritdoc/>
    public int CompareTo(DomainKey other) => Value.CompareTo(other.Value);

    /// <summary><c>domain 5</c>.</summary>
    public override string ToString() => $"domain {Value}";
}

/// <summary>What a device may observe at one address: the current translation or an older one, nothing else.</summary>
/// <param name="Current">The translation in force; null where nothing is mapped.</param>
/// <param name="Stale">A translation that was removed and of which no completed invalidation is known; null if there is none.</param>
public readonly record struct AddressView(Translation? Current, Translation? Stale)
{
    /// <summary>Whether a device can observe one thing only.</summary>
    public bool IsSettled => Stale is null;

    /// <summary>Whether a device may see <paramref name="seen"/>; null stands for a blocked access.</summary>
    public bool Permits(Translation? seen) => seen == Current || (seen is not null && seen == Stale);
}

/// <summary>
/// The model of what devices may see: per domain and address the translation in force, and those translations that a device
/// may still hold since the last completed invalidation that covers the address.
/// </summary>
/// <remarks>
/// <para>A value: every operation answers with a new one. Its size grows with the ranges that are mapped or stale.</para>
/// <para><b>Rules.</b> A mapping is made only where nothing is mapped (<see cref="Invariant.BreakBeforeMake"/>) and nothing is
/// stale (<see cref="Invariant.NoStaleAccess"/>: devices could otherwise see two translations at once). A mapping is removed
/// only where there is one (<see cref="Invariant.Conservation"/>: what is given back twice is counted twice). What is removed
/// becomes stale, and stays so until an invalidation covers it. Invalidating more than is stale is always permitted.</para>
/// </remarks>
public sealed class TranslationViews
{
    private readonly ImmutableSortedDictionary<DomainKey, Domain> _domains;

    private TranslationViews(ImmutableSortedDictionary<DomainKey, Domain> domains) => _domains = domains;

    /// <summary>Nothing is mapped and nothing is stale.</summary>
    public static TranslationViews Empty { get; } = new(ImmutableSortedDictionary<DomainKey, Domain>.Empty);

    /// <summary>The domains in which something is mapped or stale.</summary>
    public IEnumerable<DomainKey> Domains => _domains.Keys;

    /// <summary>Maps <paramref name="range"/>, its first address to <paramref name="translation"/> and the rest in step.</summary>
    public Verdict<TranslationViews> Map(DomainKey domain, AddressRange range, Translation translation)
    {
        Domain old = Of(domain);
        if (old.Current.TryFindFirst(range, out Mapping live))
        {
            ulong address = Math.Max(range.First, live.Range.First);
            return Refuse(Invariant.BreakBeforeMake, $"0x{address:x} is mapped over while it is mapped to {live.At(address)}");
        }

        if (old.Stale.TryFindFirst(range, out Mapping stale))
        {
            ulong address = Math.Max(range.First, stale.Range.First);
            return Refuse(
                Invariant.NoStaleAccess,
                $"0x{address:x} is mapped again while devices may still see {stale.At(address)} there: it was unmapped and not invalidated since");
        }

        return Accept(domain, old with { Current = old.Current.Paste(TranslationMap.Of(new(range, translation))) });
    }

    /// <summary>Removes every translation of <paramref name="range"/>; devices may see them until an invalidation covers them.</summary>
    public Verdict<TranslationViews> Unmap(DomainKey domain, AddressRange range)
    {
        Domain old = Of(domain);
        if (old.Current.TryFindGap(range, out ulong address))
            return Refuse(Invariant.Conservation, $"0x{address:x} is unmapped and was not mapped");

        TranslationMap current = old.Current.Cut(range, out TranslationMap removed);
        return Accept(domain, new(current, old.Stale.Paste(removed)));
    }

    /// <summary>An invalidation of <paramref name="range"/> in <paramref name="domain"/> is complete.</summary>
    public TranslationViews Invalidate(DomainKey domain, AddressRange range)
    {
        Domain old = Of(domain);
        return old.Stale.IsEmpty ? this : With(domain, old with { Stale = old.Stale.Cut(range, out _) });
    }

    /// <summary>An invalidation of the whole of <paramref name="domain"/> is complete.</summary>
    public TranslationViews Invalidate(DomainKey domain) => Invalidate(domain, AddressRange.All);

    /// <summary>An invalidation of every domain is complete.</summary>
    public TranslationViews InvalidateAll() => Domains.Aggregate(this, (views, domain) => views.Invalidate(domain));

    /// <summary>What a device in <paramref name="domain"/> may observe at <paramref name="address"/>.</summary>
    public AddressView MayObserve(DomainKey domain, ulong address)
    {
        Domain state = Of(domain);
        return new(
            state.Current.TryFind(address, out Mapping current) ? current.At(address) : null,
            state.Stale.TryFind(address, out Mapping stale) ? stale.At(address) : null);
    }

    /// <summary>Accepted if a device can see nothing in <paramref name="range"/> but what is mapped there now.</summary>
    public Verdict<TranslationViews> RequireSettled(DomainKey domain, AddressRange range)
    {
        if (!Of(domain).Stale.TryFindFirst(range, out Mapping stale)) return Verdict<TranslationViews>.Accept(this);
        ulong address = Math.Max(range.First, stale.Range.First);
        return Refuse(Invariant.NoStaleAccess, $"devices may still see {stale.At(address)} at 0x{address:x}: it was unmapped and not invalidated since");
    }

    /// <summary>What is mapped in <paramref name="domain"/>.</summary>
    public TranslationMap Current(DomainKey domain) => Of(domain).Current;

    /// <summary>What was removed in <paramref name="domain"/> and not invalidated since.</summary>
    public TranslationMap Stale(DomainKey domain) => Of(domain).Stale;

    private static Verdict<TranslationViews> Refuse(Invariant broken, string sentence) => Verdict<TranslationViews>.Refuse(broken, sentence);

    private Verdict<TranslationViews> Accept(DomainKey domain, Domain next) => Verdict<TranslationViews>.Accept(With(domain, next));

    private TranslationViews With(DomainKey domain, Domain next) =>
        new(next.Current.IsEmpty && next.Stale.IsEmpty ? _domains.Remove(domain) : _domains.SetItem(domain, next));

    private Domain Of(DomainKey domain) => _domains.GetValueOrDefault(domain, Domain.Nothing);

    private sealed record Domain(TranslationMap Current, TranslationMap Stale)
    {
        public static Domain Nothing { get; } = new(TranslationMap.Empty, TranslationMap.Empty);
    }
}
