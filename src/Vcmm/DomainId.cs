using System.Globalization;

namespace Vcmm;

/// <summary>The tag under which an IOMMU caches the translations of one table.</summary>
/// <param name="Value">What the hardware is told; its width is the hardware's.</param>
public readonly record struct DomainId(uint Value)
{
    /// <summary><c>did:5</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"did:{Value}");
}
