using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>A contiguous piece of physical memory.</summary>
/// <param name="Range">Its addresses.</param>
/// <param name="Type">What kind of memory it is: any number. Several banks may be of one.</param>
/// <param name="IsCoherent">Whether it is coherent.</param>
public sealed record Bank(AddressRange Range, int Type, bool IsCoherent);

/// <summary>From which banks memory may come.</summary>
/// <param name="Type">Banks of this type only; null: of any.</param>
/// <param name="MustBeCoherent">Whether from coherent banks only.</param>
public readonly record struct BankRequest(int? Type = null, bool MustBeCoherent = false)
{
    /// <summary>Whether memory may come from the bank.</summary>
    public bool Admits(Bank bank) => (Type is not { } type || type == bank.Type) && (bank.IsCoherent || !MustBeCoherent);
}

// Which memory may be given.
public sealed partial record World
{
    /// <summary>Why no bank has that much.</summary>
    private Refusals FromBanks(Refusals refusals, BankRequest from, ulong byteCount, Surroundings surroundings) => refusals
        .Must(Outcome.NotFound, Setup.Banks.Length != 0 && !Setup.Banks.Any(from.Admits), Invariant.Conservation, "there is no such bank")
        .Must(Outcome.NoMemory, FreeIn(from, surroundings) < byteCount, Invariant.Conservation, "there is not that much memory");

    private ulong FreeIn(BankRequest from, Surroundings surroundings)
    {
        if (surroundings.FreeInBanks.IsDefault) return surroundings.FreeBytes;
        ulong sum = 0;
        for (int i = 0; i < Setup.Banks.Length; i++)
        {
            if (from.Admits(Setup.Banks[i])) sum += surroundings.FreeInBanks[i];
        }

        return sum;
    }

    /// <summary>What is free of the memory that may be given, in pieces none of which lies in two banks.</summary>
    private IEnumerable<AddressRange> PiecesOf(BankRequest request, IEnumerable<AddressRange> free) => Setup.Banks.Length == 0
        ? free
        : from range in free
          from bank in Setup.Banks
          where request.Admits(bank) && bank.Range.Overlaps(range)
          select new AddressRange(Math.Max(bank.Range.First, range.First), Math.Min(bank.Range.Last, range.Last));

    /// <summary>What is wrong with where memory lies that a call gave; null: nothing.</summary>
    private FormattableString? WhyNotFrom(BankRequest from, IEnumerable<AddressRange> chunks)
    {
        if (Setup.Banks.Length == 0) return null;
        foreach (AddressRange chunk in chunks)
        {
            Bank? bank = Setup.Banks.FirstOrDefault(candidate => candidate.Range.Contains(chunk));
            if (bank is null) return $"it gave {chunk}; no bank holds that";
            if (!from.Admits(bank)) return $"it gave {chunk} of {bank}; {from} was asked for";
        }

        return null;
    }
}
