using Vcmm;
using Vcmm.Spec;
using CachePolicy = Vcmm.Spec.CachePolicy;

namespace Harness.Running;

// What a mapping grants, and how it uses caches, in the words of both.
public sealed partial class Subject
{
    /// <summary>The library's attributes, as the model has them.</summary>
    public static Attributes Seen(MappingAttributes attributes) =>
        new((Permissions)attributes.Access, attributes.SupervisorOnly, attributes.Secure, (CachePolicy)attributes.Cache);

    private static MappingAttributes Wanted(Attributes attributes) =>
        new((Access)attributes.Permissions, attributes.SupervisorOnly, attributes.Secure, (Vcmm.CachePolicy)attributes.Cache);

    private static Translation Seen(in Vcmm.Tables.Translation found)
    {
        Attributes attributes = Seen(found.Attributes);
        Permissions granted = attributes.Permissions;
        return new(
            found.Address.Value, granted.HasFlag(Permissions.Read), granted.HasFlag(Permissions.Write), granted.HasFlag(Permissions.Execute),
            attributes.SupervisorOnly, attributes.Cache);
    }
}
