using Harness.Foreign;

namespace Conformance;

/// <summary>A test that needs QEMU: skipped where it is not installed, unless <see cref="QemuVtd.RequireVariable"/> asks for it.</summary>
internal sealed class QemuFactAttribute : FactAttribute
{
    public QemuFactAttribute() => Skip = QemuVtd.IsRequired ? null : QemuVtd.Missing;
}

/// <summary>A theory that needs QEMU: skipped where it is not installed, unless <see cref="QemuVtd.RequireVariable"/> asks for it.</summary>
internal sealed class QemuTheoryAttribute : TheoryAttribute
{
    public QemuTheoryAttribute() => Skip = QemuVtd.IsRequired ? null : QemuVtd.Missing;
}
