using Platform;

namespace Vcmm.Allocation;

/// <summary>A kind of memory that can be asked for: on-chip, behind one of several controllers, …</summary>
/// <param name="Name">Tells it from the others.</param>
public readonly record struct MemoryType(string Name)
{
    /// <summary>The name.</summary>
    public override string ToString() => Name;
}

/// <summary>A contiguous piece of physical memory.</summary>
/// <param name="Range">Its base and its length; whole 4 KiB frames.</param>
/// <param name="Type">What kind of memory it is. Several banks may be of one.</param>
/// <param name="IsCoherent">Whether what devices write there and what processors have cached agree by themselves.</param>
public sealed record MemoryBank(PhysRange Range, MemoryType Type, bool IsCoherent);

/// <summary>From which banks memory may come.</summary>
/// <param name="Type">Banks of this type only; null: of any.</param>
/// <param name="MustBeCoherent">True: coherent banks only. False: all.</param>
public readonly record struct MemoryRequest(MemoryType? Type = null, bool MustBeCoherent = false)
{
    /// <summary>Whether memory may come from the bank.</summary>
    public bool Admits(MemoryBank bank)
    {
        ArgumentNullException.ThrowIfNull(bank);
        return (Type is not { } type || type == bank.Type) && (bank.IsCoherent || !MustBeCoherent);
    }
}
