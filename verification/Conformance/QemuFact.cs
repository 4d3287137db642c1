using Harness.Foreign;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace Conformance;

/// <summary>A test that needs QEMU: skipped where it is not installed, unless <see cref="QemuVtd.RequireVariable"/> asks for it.</summary>
[TraitDiscoverer("Conformance." + nameof(QemuTraitDiscoverer), "Conformance")]
internal sealed class QemuFactAttribute : FactAttribute, ITraitAttribute
{
    public QemuFactAttribute() => Skip = QemuVtd.IsRequired ? null : QemuVtd.Missing;
}

/// <summary>A theory that needs QEMU: skipped where it is not installed, unless <see cref="QemuVtd.RequireVariable"/> asks for it.</summary>
[TraitDiscoverer("Conformance." + nameof(QemuTraitDiscoverer), "Conformance")]
internal sealed class QemuTheoryAttribute : TheoryAttribute, ITraitAttribute
{
    public QemuTheoryAttribute() => Skip = QemuVtd.IsRequired ? null : QemuVtd.Missing;
}

/// <summary>Gives every test that needs QEMU the category <c>Qemu</c>, so that a filter can leave it out.</summary>
internal sealed class QemuTraitDiscoverer : ITraitDiscoverer
{
    /// <summary>The one trait of a test that needs QEMU.</summary>
    public IEnumerable<KeyValuePair<string, string>> GetTraits(IAttributeInfo traitAttribute) => [new("Category", "Qemu")];
}
